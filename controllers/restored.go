package controllers

import (
	"context"
	"fmt"
	"strconv"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// leaseVersion is the newest version of a Lease that was seen. The versions of one object are numbers that grow (Kubernetes
// KEP-5504), and an uncached read never returns an older version than anybody was shown before, unless etcd was restored to
// an older copy.
type leaseVersion struct {
	uid    types.UID
	newest uint64
}

func (v *leaseVersion) see(l *coordinationv1.Lease) {
	n, err := strconv.ParseUint(l.ResourceVersion, 10, 64)
	switch {
	case err != nil:
	case l.UID != v.uid:
		*v = leaseVersion{l.UID, n}
	default:
		v.newest = max(v.newest, n)
	}
}

// after reports whether v is newer than a Lease (nil: there is none) that was read uncached later.
func (v leaseVersion) after(l *coordinationv1.Lease) bool {
	if l == nil || l.UID != v.uid {
		return false
	}
	n, err := strconv.ParseUint(l.ResourceVersion, 10, 64)
	return err == nil && n < v.newest
}

// restored ends the operator, so that another one starts with what is there now. Watches do not report what went back: until
// something else happens to an object, caches would show what was there before the restore, including the leader that the
// -rw Service had led to. Kubernetes asks whoever restores etcd to restart everything that remembers newer state.
func (p *pass) restored(l *coordinationv1.Lease) error {
	err := fmt.Errorf("the API server shows an older Lease %s, version %s, than before: its etcd, or that Lease, was restored from an older copy. "+
		"This operator restarts, because its caches are no longer valid", l.Name, l.ResourceVersion)
	p.warn(v1alpha1.ReasonAPIServerRestored, err)
	select {
	case p.over <- err:
	default: // already ending
	}
	return err
}

// endings makes the manager end when the operator must.
func (r *Reconciler) endings(mgr ctrl.Manager) error {
	over := make(chan error, 1)
	r.over = over
	return mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		select {
		case err := <-over:
			return err
		case <-ctx.Done():
			return nil
		}
	}))
}
