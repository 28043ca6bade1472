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

// errNotOwned reports that an object with a child's name exists and is not a child of this store.
var errNotOwned = errors.New("an object of that name exists and is not owned by this store")

// child is the identity of an apply configuration.
type child struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
}

func (c child) key() string { return c.Kind + "/" + c.Metadata.Name }

// identify returns the object that an apply configuration is for, and a hash of the whole configuration.
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

// applyChildren applies the children that a store has once, and what may change on claims and running pods. It skips a child
// that was applied as it is now and has not been touched since.
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

// pods counts the members that have a pod, without pods that are being deleted and that the record no longer depends on: on
// a dead machine a pod stays in that state until somebody removes it.
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

// applyOwn applies a child unless an object of its name is somebody else's. there reports whether the store already has one.
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

// theirs reports whether an object with a child's name belongs to somebody else.
func (p *pass) theirs(o metav1.Object) bool {
	return !metav1.IsControlledBy(o, p.store) && !p.leftBehind(o)
}

// leftBehind reports whether an object has no owner and was made for a store of this name that was deleted without it. Such
// an object is taken over.
func (p *pass) leftBehind(o metav1.Object) bool {
	labels := o.GetLabels()
	return metav1.GetControllerOf(o) == nil && labels[v1alpha1.LabelStore] == p.store.Name && labels[v1alpha1.LabelAppManagedBy] == v1alpha1.AppManagedBy
}

// maxApplies bounds how many children all passes together apply at once, however many stores are reconciled concurrently
// (--max-concurrent-reconciles). When many stores are created, or the operator has just started, their children would
// otherwise keep the API server from serving what a failover or the operators' election needs.
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

// errOthersFirst means that there was no turn in time. It is not reported to the store's owner.
var errOthersFirst = errors.New("applies for other stores came first")

// apply applies a child and remembers the result.
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
	result, _, err := identify(ac) // Apply stores the resulting object in ac
	if err != nil {
		return err
	}
	p.applied[c.key()] = applied{hash: hash, uid: result.Metadata.UID, version: result.Metadata.ResourceVersion}
	return nil
}

// applyMember brings a member's claim up to the spec, and the labels and annotations of its pod if the pod's template is up
// to date. Kubelet and the volume binder write to both objects, so it compares what is sent with what was sent before, not
// with what is there. The UID ensures that nothing is created here.
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

// applyRunning updates the labels and annotations of a running pod, sending its spec as it was last applied. What the same
// store spec renders to by now, with another version of the operator or a larger volume, is for the next pod: the API server
// would refuse to change it here, and refuse the labels with it.
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
		return fmt.Errorf("read back %s: %w", c.key(), err)
	}
	ac.Labels, ac.Annotations, ac.OwnerReferences = want.Labels, want.Annotations, want.OwnerReferences
	if err := p.apply(ctx, c, hash, ac.WithUID(m.Pod.UID)); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return err
	}
	return nil // gone or replaced meanwhile: the next look will see
}

// applyClaim brings an existing claim up to the spec.
func (p *pass) applyClaim(ctx context.Context, m decide.Member) error {
	have := render.Volume{Size: m.Claim.Requested, Class: m.Claim.Class}
	return p.fitClaim(m.Name, have.Size, p.seen.Grows(m), func(grow bool) error {
		return p.applyOnce(ctx, render.Claim(p.store, m.Ordinal, have, grow).WithUID(m.Claim.UID), m.Claim.UID)
	})
}

// fitClaim applies an existing claim, which requests have. If the claim may not grow, its size is left alone and the refusal
// reported (Claim.Refused); its owner and labels are updated all the same, and its member is created.
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

// reasonOf returns what the API server answered, without the request.
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
	return nil // gone or replaced meanwhile: the next look will see
}

// createMember creates a member's pod, and its claim unless it exists. Before them it applies what the pod refers to: a pod
// whose ServiceAccount is missing is refused, and no pod gets an account that belongs to somebody else. The store's other
// children are applied later, and their failures keep no member away.
func (p *pass) createMember(ctx context.Context, a decide.CreateMember) error {
	hash := render.SpecHash(p.store)
	if err := p.Attempts.Rests(a.Member, hash, p.Clock.Now()); err != nil {
		return err
	}
	err := p.applyEach(ctx, render.Accounts(p.store))
	if !errors.Is(err, errNotOwned) {
		err = errors.Join(err, p.createBoth(ctx, a))
	}
	if !errors.Is(err, errOthersFirst) { // which says nothing about the member
		p.Attempts.Ended(a.Member, hash, err, p.Clock.Now())
	}
	if err != nil {
		p.warnOf("Create", a.Member, v1alpha1.ReasonApplyFailed, err)
	}
	return err
}

// createBoth creates a member's claim and then its pod.
func (p *pass) createBoth(ctx context.Context, a decide.CreateMember) error {
	if err := p.createClaim(ctx, a); err != nil {
		return err
	}
	return p.applyAnew(ctx, render.Pod(p.store, a.Ordinal, p.Options))
}

// createClaim creates a member's claim, or brings the existing one up to the spec. If the claim vanishes meanwhile, it is
// created with the spec's size and class.
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

// applyAnew applies a child regardless of what was applied before.
func (p *pass) applyAnew(ctx context.Context, ac runtime.ApplyConfiguration) error {
	c, hash, err := identify(ac)
	if err != nil {
		return err
	}
	return p.apply(ctx, c, hash, ac)
}
