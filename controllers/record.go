package controllers

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// maxReads bounds how often one look reads a record that changes each time.
const maxReads = 3

// askAndRead asks the members and then reads the record, so a current record is never older than what they have promised.
//
// The cache is good enough while it shows what was last read or written and nobody asks for more (decide.Plan.Reread). If
// the record turns out to have moved on since it was last known, the members may have answered before that, so they are
// asked again. Otherwise, with two operators at work, one could see the record of a new leader next to what members said
// before it was promoted, and depose it.
func (p *pass) askAndRead(ctx context.Context, members map[string]decide.Member) (decide.Lease, error) {
	if !p.uncached.Record {
		lease, err := p.getLease(ctx, p.Client)
		if err != nil {
			return decide.Lease{}, err
		}
		if p.Known.Shows(says(lease)) {
			p.ask(ctx, members)
			return p.seenLease(lease), nil
		}
		p.uncached.Record = true
	}
	for n := 1; ; n++ {
		p.ask(ctx, members)
		before := p.version
		lease, err := p.getLease(ctx, p.Reader)
		if err != nil {
			return decide.Lease{}, err
		}
		p.Lease.See(renewalOf(lease), p.Clock.Now()) // the cache's copies are recorded as they arrive
		out, was := p.seenLease(lease), p.Known
		now := knownOf(lease, out.Record)
		if before.after(lease) || was.After(now) {
			return decide.Lease{}, p.restored(lease)
		}
		if p.Known = now; n == maxReads || !was.Moved(now) {
			return out, nil
		}
	}
}

// getLease returns the store's Lease; nil if there is none.
func (p *pass) getLease(ctx context.Context, from client.Reader) (*coordinationv1.Lease, error) {
	lease := &coordinationv1.Lease{}
	err := from.Get(ctx, client.ObjectKey{Namespace: p.store.Namespace, Name: v1alpha1.LeaseName(p.store.Name)}, lease)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("get Lease: %w", err)
	default:
		p.version.see(lease)
		return lease, nil
	}
}

func knownOf(l *coordinationv1.Lease, rec *decide.Record) decide.Known {
	uid, text := says(l)
	return decide.KnownOf(uid, text, rec)
}

// says returns a Lease's UID and the text of its record; "" if there is none.
func says(l *coordinationv1.Lease) (types.UID, string) {
	if l == nil {
		return "", ""
	}
	return l.UID, l.Annotations[v1alpha1.AnnotationRecord]
}

// seenLease returns what a decision needs of the Lease.
func (p *pass) seenLease(lease *coordinationv1.Lease) decide.Lease {
	now := p.Clock.Now()
	if lease == nil {
		return decide.Lease{UnchangedFor: p.Lease.Led(nil, now)}
	}
	out := decide.Lease{Exists: true, ResourceVersion: lease.ResourceVersion, Owner: ownerOf(lease, p.store)}
	if out.Owner == decide.OwnedByEarlier || out.Owner == decide.OwnedByOther {
		out.UnchangedFor = p.Lease.Led(nil, now)
		return out
	}
	out.Holder = holderOf(lease)
	if s := lease.Spec.LeaseDurationSeconds; s != nil {
		out.Duration = time.Duration(*s) * time.Second
	}
	if text, ok := lease.Annotations[v1alpha1.AnnotationRecord]; ok {
		var err error
		if out.Record, err = decide.DecodeRecord(text); err != nil {
			out.RecordError = err.Error()
		}
	}
	out.UnchangedFor = p.Lease.Led(out.Record, now)
	return out
}

// ownerOf returns whose Lease it is. The name alone does not say: a store that is recreated at once finds the Lease of its
// predecessor until the cluster has collected it, and an application may have a Lease of that name.
func ownerOf(l *coordinationv1.Lease, store *v1alpha1.ReplicatedStore) decide.LeaseOwner {
	controller := metav1.GetControllerOf(l)
	switch {
	case metav1.IsControlledBy(l, store):
		return decide.OwnedByStore
	case controller == nil && l.Labels[v1alpha1.LabelStore] == store.Name:
		return decide.OwnedByNobody
	case controller != nil && controller.Kind == v1alpha1.Kind && controller.Name == store.Name:
		return decide.OwnedByEarlier
	default:
		return decide.OwnedByOther
	}
}
