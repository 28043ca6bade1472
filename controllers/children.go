package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/render"
)

// errNotOwned: an object of a child's name exists and is no child of this store.
var errNotOwned = errors.New("an object of that name exists and belongs to somebody else")

// child is the identity of an apply configuration.
type child struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
}

func (c child) key() string { return c.Kind + "/" + c.Metadata.Name }

// identify reads who an apply configuration is for, and a hash of all it says.
func identify(ac runtime.ApplyConfiguration) (child, string, error) {
	b, err := json.Marshal(ac)
	if err != nil {
		return child{}, "", fmt.Errorf("encode child: %w", err)
	}
	var c child
	if err := json.Unmarshal(b, &c); err != nil {
		return child{}, "", fmt.Errorf("decode child: %w", err)
	}
	sum := sha256.Sum256(b)
	return c, hex.EncodeToString(sum[:8]), nil
}

// applyChildren applies what the store has once, and what may change on claims and running pods. What was applied as it
// is now, and has not been touched since, is skipped.
func (p *pass) applyChildren(ctx context.Context) error {
	if p.tooLate != nil {
		return p.tooLate
	}
	errs := []error{p.applyEach(ctx, render.Shared(p.store, p.pods()))}
	for _, name := range slices.Sorted(maps.Keys(p.seen.Members)) {
		if p.tooLate != nil {
			break
		}
		errs = append(errs, p.applyMember(ctx, p.seen.Members[name]))
	}
	if err := errors.Join(errs...); err != nil {
		p.warn(v1alpha1.ReasonApplyFailed, err)
		return err
	}
	return nil
}

// pods is how many members have one, but for those that are on their way out and that the record counts on no more: a pod on a dead
// machine stays so until somebody removes it.
func (p *pass) pods() (n int) {
	named := p.seen.Lease.Record.Named()
	for _, m := range p.seen.Members {
		if m.Pod != nil && !m.Pod.Departed && (!m.Pod.Deleting || slices.Contains(named, m.Name)) {
			n++
		}
	}
	return n
}

func (p *pass) applyEach(ctx context.Context, shared []runtime.ApplyConfiguration) error {
	var errs []error
	for _, ac := range shared {
		if errs = append(errs, p.applyShared(ctx, ac)); p.tooLate != nil {
			break
		}
	}
	return errors.Join(errs...)
}

func (p *pass) applyShared(ctx context.Context, ac runtime.ApplyConfiguration) error {
	c, hash, err := identify(ac)
	if err != nil {
		return err
	}
	there, err := p.applyOwn(ctx, c, hash, ac)
	switch {
	case err == nil:
		delete(p.unapplied, c.key())
	case !errors.Is(err, errOthersFirst):
		p.unapplied[c.key()] = decide.Unapplied{Why: brief(err.Error()), Missing: !there, NotOwned: errors.Is(err, errNotOwned)}
	}
	return err
}

// applyOwn applies what is not somebody else's, and tells whether the store has one already.
func (p *pass) applyOwn(ctx context.Context, c child, hash string, ac runtime.ApplyConfiguration) (there bool, err error) {
	live := &metav1.PartialObjectMetadata{TypeMeta: c.TypeMeta}
	switch err := p.Client.Get(ctx, types.NamespacedName{Namespace: c.Metadata.Namespace, Name: c.Metadata.Name}, live); {
	case apierrors.IsNotFound(err):
	case err != nil:
		return true, fmt.Errorf("get %s: %w", c.key(), err)
	case p.theirs(live):
		return false, fmt.Errorf("%s: %w", c.key(), errNotOwned)
	}
	there = live.UID != ""
	was, ok := p.applied[c.key()]
	if ok && was.hash == hash && was.uid == live.UID && was.version == live.ResourceVersion {
		return there, nil
	}
	return there, p.apply(ctx, c, hash, ac)
}

// theirs tells whether an object of a child's name is somebody else's.
func (p *pass) theirs(o metav1.Object) bool {
	return !metav1.IsControlledBy(o, p.store) && !p.leftBehind(o)
}

// leftBehind tells whether an object belongs to nobody and was made for a store of this name, which was deleted without it:
// it is taken over.
func (p *pass) leftBehind(o metav1.Object) bool {
	labels := o.GetLabels()
	return metav1.GetControllerOf(o) == nil && labels[v1alpha1.LabelStore] == p.store.Name && labels[v1alpha1.LabelAppManagedBy] == v1alpha1.AppManagedBy
}

// maxApplies bounds how many children are applied at once, by all passes together, however many stores are reconciled at once
// (--max-concurrent-reconciles): when many are made, or the operator has just started, their children would keep the API server from
// answering what a failover or the operators' election asks of it.
const maxApplies = 8

// turn waits until another child may be applied; done gives the turn back.
func (r *Reconciler) turn(ctx context.Context) (done func(), err error) {
	if r.applies == nil {
		return func() {}, nil
	}
	select {
	case r.applies <- struct{}{}:
		return func() { <-r.applies }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// errOthersFirst: there was no turn in time. That is no news to the store's owner.
var errOthersFirst = errors.New("those of other stores came first")

// apply applies, and remembers what came of it.
func (p *pass) apply(ctx context.Context, c child, hash string, ac runtime.ApplyConfiguration) error {
	if err := p.late(c.Kind); err != nil {
		return err
	}
	was, began := p.lates[c.Kind], false
	err := p.inTime(ctx, was.patience(), func(ctx context.Context) error {
		done, err := p.turn(ctx)
		if err != nil {
			return fmt.Errorf("apply %s: %w: %w", c.key(), errOthersFirst, err)
		}
		defer done()
		began = true
		if err := p.Client.Apply(ctx, ac, client.FieldOwner(v1alpha1.FieldOwner), client.ForceOwnership); err != nil {
			return fmt.Errorf("apply %s: %w", c.key(), err)
		}
		return nil
	})
	switch {
	case p.tooLate != nil && began:
		p.lates[c.Kind] = lateness{was.times + 1, p.Clock.Now(), err}
	case began:
		delete(p.lates, c.Kind)
	}
	if err != nil {
		return err
	}
	result, _, err := identify(ac) // Apply leaves the object in it
	if err != nil {
		return err
	}
	p.applied[c.key()] = applied{hash: hash, uid: result.Metadata.UID, version: result.Metadata.ResourceVersion}
	return nil
}

// applyMember takes a changed spec to a member's claim, and to the labels and annotations of a pod whose template is up to
// date. Kubelet and volume binder write to both, so only what is sent is compared, not what is there. The UID makes sure
// that nothing is created here.
func (p *pass) applyMember(ctx context.Context, m decide.Member) error {
	var errs []error
	if m.Claim != nil && !m.Claim.Deleting {
		errs = append(errs, p.applyClaim(ctx, m))
	}
	if m.Pod != nil && !m.Pod.Deleting && !p.seen.Outdated(m) {
		errs = append(errs, p.applyRunning(ctx, m))
	}
	return errors.Join(errs...)
}

// applyRunning takes labels and annotations to a running pod, and its spec as it is there. What comes of the same words by now, in
// another version of the operator or with a larger volume, is for the pod that is made next: the API server would refuse it here, and
// the labels with it.
func (p *pass) applyRunning(ctx context.Context, m decide.Member) error {
	want := render.Pod(p.store, m.Ordinal, p.Options).WithUID(m.Pod.UID)
	want.Spec = nil
	c, hash, err := identify(want)
	if err != nil {
		return err
	}
	if was, ok := p.applied[c.key()]; ok && was.hash == hash && was.uid == m.Pod.UID {
		return nil
	}
	if err := p.late(c.Kind); err != nil {
		return err
	}
	pod := &corev1.Pod{}
	if err := p.Reader.Get(ctx, types.NamespacedName{Namespace: p.store.Namespace, Name: m.Name}, pod); err != nil {
		return client.IgnoreNotFound(err)
	}
	ac, err := corev1ac.ExtractPod(pod, v1alpha1.FieldOwner)
	if err != nil {
		return fmt.Errorf("read what was applied to %s: %w", c.key(), err)
	}
	ac.Labels, ac.Annotations, ac.OwnerReferences = want.Labels, want.Annotations, want.OwnerReferences
	if err := p.apply(ctx, c, hash, ac.WithUID(m.Pod.UID)); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return err
	}
	return nil // gone or replaced meanwhile: the next look sees
}

// applyClaim takes the spec to a claim that exists.
func (p *pass) applyClaim(ctx context.Context, m decide.Member) error {
	have := render.Volume{Size: m.Claim.Requested, Class: m.Claim.Class}
	return p.fitClaim(m.Name, have.Size, p.seen.Grows(m), func(grow bool) error {
		return p.applyOnce(ctx, render.Claim(p.store, m.Ordinal, have, grow).WithUID(m.Claim.UID), m.Claim.UID)
	})
}

// fitClaim applies a claim that exists, and asks for have. One that may not grow is left at its size, and told (Claim.Refused): its
// owner and labels are brought up to date all the same, and its member is made.
func (p *pass) fitClaim(member string, have resource.Quantity, grow bool, apply func(grow bool) error) error {
	size, now := p.store.Spec.Storage.Size, p.Clock.Now()
	if was, ok := p.refused[member]; ok && was.size == size.String() && now.Sub(was.at) < decide.GrowAgain {
		grow = false
	}
	err := apply(grow)
	switch refused := apierrors.IsForbidden(err) || apierrors.IsInvalid(err); {
	case refused && grow && have.Cmp(size) < 0:
		p.refused[member] = refusal{why: reasonOf(err), size: size.String(), at: now}
		return apply(false)
	case err == nil && grow:
		delete(p.refused, member)
	}
	return err
}

// reasonOf is what the API server said, without what was asked.
func reasonOf(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status().Message
	}
	return err.Error()
}

func (p *pass) applyOnce(ctx context.Context, ac runtime.ApplyConfiguration, uid types.UID) error {
	c, hash, err := identify(ac)
	if err != nil {
		return err
	}
	if was, ok := p.applied[c.key()]; ok && was.hash == hash && was.uid == uid {
		return nil
	}
	if err := p.apply(ctx, c, hash, ac); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return err
	}
	return nil // gone or replaced meanwhile: the next look sees
}

// createMember makes a member's claim, unless it is there, and its pod; and before them what the pod refers to: a pod whose
// ServiceAccount is missing is refused, and no pod gets an account that is somebody else's. What else the store has is applied after
// that, and whatever comes of it keeps no member away.
func (p *pass) createMember(ctx context.Context, a decide.CreateMember) error {
	hash := render.SpecHash(p.store)
	if was := p.vain[a.Member]; was.rests(hash, p.Clock.Now()) {
		return was.err
	}
	err := p.applyEach(ctx, render.Accounts(p.store))
	if !errors.Is(err, errNotOwned) {
		err = errors.Join(err, p.createBoth(ctx, a))
	}
	p.attempted(a.Member, hash, err, p.Clock.Now())
	if err != nil {
		p.warnOf("Create", a.Member, v1alpha1.ReasonApplyFailed, err)
	}
	return err
}

// createBoth makes a member's claim and then its pod.
func (p *pass) createBoth(ctx context.Context, a decide.CreateMember) error {
	if err := p.createClaim(ctx, a); err != nil {
		return err
	}
	return p.applyAnew(ctx, render.Pod(p.store, a.Ordinal, p.Options))
}

// createClaim makes a member's claim, or takes the spec to the one that is there. One that went meanwhile is made with the size, and
// the class, of the spec.
func (p *pass) createClaim(ctx context.Context, a decide.CreateMember) error {
	claim := &corev1.PersistentVolumeClaim{}
	switch err := p.Client.Get(ctx, types.NamespacedName{Namespace: p.store.Namespace, Name: a.Member}, claim); {
	case apierrors.IsNotFound(err):
		return p.applyAnew(ctx, render.Claim(p.store, a.Ordinal, render.Volume{}, true))
	case err != nil:
		return fmt.Errorf("get claim: %w", err)
	case claim.Labels[v1alpha1.LabelStore] != p.store.Name:
		return fmt.Errorf("claim %s: %w", a.Member, errNotOwned)
	}
	have := render.VolumeOf(claim)
	return p.fitClaim(a.Member, have.Size, true, func(grow bool) error {
		ac := render.Claim(p.store, a.Ordinal, have, grow)
		if !grow || decide.OtherClass(p.store, have.Class) {
			ac.WithUID(claim.UID)
		}
		return p.applyAnew(ctx, ac)
	})
}

// applyAnew applies, whatever was applied before.
func (p *pass) applyAnew(ctx context.Context, ac runtime.ApplyConfiguration) error {
	c, hash, err := identify(ac)
	if err != nil {
		return err
	}
	return p.apply(ctx, c, hash, ac)
}
