package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
)

// act carries out the plan's actions in order and stops at the first failure. The exception is a member that cannot be
// created or labelled: the remaining actions are carried out all the same, unless the failure was a timeout. FollowLeader
// orders are sent together.
func (p *pass) act(ctx context.Context, plan decide.Plan) error {
	var failed []error
	p.refusedLast = ""
	for i := 0; i < len(plan.Actions); i++ {
		a := plan.Actions[i]
		p.failpoint(ctx, "before", a)
		if _, ok := a.(decide.FollowLeader); ok {
			i += p.follow(ctx, plan.Actions[i:]) - 1
			p.failpoint(ctx, "after", a)
			continue
		}
		logger := log.FromContext(ctx).WithValues(keyState, plan.State.String(), keyAction, a.String())
		if err := p.do(ctx, a); err != nil {
			err = fmt.Errorf("%v: %w", a, err)
			switch a.(type) {
			case decide.CreateMember, decide.LabelPod:
			default:
				p.noteRefusal(err)
				return errors.Join(append(failed, err)...)
			}
			if failed = append(failed, err); p.tooLate != nil {
				return errors.Join(failed...)
			}
			continue
		}
		p.failpoint(ctx, "after", a)
		if a.Risky() {
			logger.Info("Acted", keyReason, plan.Reason)
		} else {
			logger.V(1).Info("Acted", keyReason, plan.Reason)
		}
	}
	return errors.Join(failed...)
}

// noteRefusal remembers and reports an action that the API server refused, as a policy, a quota or a webhook that is down
// makes it do. A conflict is no refusal: the next step sees what changed.
func (p *pass) noteRefusal(err error) {
	if apierrors.ReasonForError(err) == metav1.StatusReasonUnknown || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		return
	}
	p.refusedLast = brief(err.Error())
	p.warnOf("Act", "", v1alpha1.ReasonApplyFailed, err)
}

func (p *pass) do(ctx context.Context, a decide.Action) error {
	switch a := a.(type) {
	case decide.WriteRecord:
		return p.writeRecord(ctx, a)
	case decide.FenceMembers:
		p.fence(ctx, a)
		return nil
	case decide.PromoteMember:
		return p.promote(ctx, a)
	case decide.ConfigureLeader:
		_, err := p.Nodes.Configure(ctx, p.address(a.Member), a.Request)
		return err
	case decide.HandOver:
		p.handOver(ctx, a)
		return nil
	case decide.CreateMember:
		return p.createMember(ctx, a)
	case decide.TryPod:
		return p.tryPod(ctx, a)
	case decide.DeletePod:
		return p.delete(ctx, &corev1.Pod{}, a.Name, a.UID)
	case decide.DeleteClaim:
		return p.delete(ctx, &corev1.PersistentVolumeClaim{}, a.Name, a.UID)
	case decide.LabelPod:
		return p.resting(labelling, func() error { return p.patchPod(ctx, a.Name, "labels", v1alpha1.LabelRole, a.Role) })
	case decide.RouteClients:
		return p.route(ctx, a)
	case decide.UnannotatePod:
		return p.patchPod(ctx, a.Name, "annotations", a.Key, "")
	case decide.FinishRequest:
		return p.finishRequest(ctx, a.Outcome)
	default:
		panic(fmt.Sprintf("controllers: unknown action %T", a))
	}
}

func (p *pass) address(member string) nodeclient.Target {
	if m := p.seen.Members[member]; m.Pod != nil {
		return p.target(member, m.Pod.IP)
	}
	return p.target(member, "")
}

// writeRecord swaps the record, or creates the Lease with it. Holder and duration are written with the record, so that
// `kubectl get lease` shows who leads, and so that a leader's renewal never succeeds on the version that deposed it.
func (p *pass) writeRecord(ctx context.Context, a decide.WriteRecord) error {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: p.store.Namespace, Name: v1alpha1.LeaseName(p.store.Name)}}
	annotations := map[string]string{v1alpha1.AnnotationRecord: a.Record.Encode()}
	if a.ResourceVersion == "" {
		lease.Labels = v1alpha1.ChildLabels(p.store.Name)
		lease.Annotations = annotations
		lease.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(p.store, v1alpha1.GroupVersionKind())}
		lease.Spec.LeaseDurationSeconds = &a.LeaseSeconds
		if name := a.Record.Leader.Member; name != "" {
			lease.Spec.HolderIdentity = &name
		}
		if err := p.Client.Create(ctx, lease, client.FieldOwner(v1alpha1.FieldOwner)); err != nil {
			return err
		}
		p.wrote(lease.UID, a.Record)
		return nil
	}
	owner := metav1.NewControllerRef(p.store, v1alpha1.GroupVersionKind())
	spec := map[string]any{"leaseDurationSeconds": a.LeaseSeconds, "holderIdentity": nil}
	if name := a.Record.Leader.Member; name != "" {
		spec["holderIdentity"] = name
	}
	if a.NewLeader {
		spec["renewTime"], spec["acquireTime"] = nil, metav1.NewMicroTime(p.Clock.Now())
		spec["leaseTransitions"] = a.Record.Epoch
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": a.ResourceVersion, "annotations": annotations, "ownerReferences": []any{owner}},
		"spec":     spec,
	})
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	if err := p.Client.Patch(ctx, lease, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(v1alpha1.FieldOwner)); err != nil {
		return err
	}
	p.wrote(lease.UID, a.Record)
	p.recorded(a.Record)
	return nil
}

func (p *pass) wrote(lease types.UID, rec decide.Record) {
	p.Known = decide.KnownOf(lease, rec.Encode(), &rec)
}

// promote tells the elected member to lead. A refusal is an answer, not an error: the next step judges it.
func (p *pass) promote(ctx context.Context, a decide.PromoteMember) error {
	settle := p.Promoting(&p.answers, a.Request, p.Clock.Now())
	_, err := p.Nodes.Promote(ctx, p.address(a.Member), a.Request)
	return settle(err, p.Clock.Now())
}

func (p *pass) handOver(ctx context.Context, a decide.HandOver) {
	reply, err := p.Nodes.Handover(ctx, p.address(a.Member), a.Request)
	p.HandedOver(&p.answers, a.Request, reply.End, err, p.Clock.Now())
}

// delete deletes the object with this UID, never a later one of the same name.
func (p *pass) delete(ctx context.Context, o client.Object, name string, uid types.UID) error {
	o.SetNamespace(p.store.Namespace)
	o.SetName(name)
	p.uncached.Members = true // until the cache shows the deletion, the next steps would repeat it
	return p.inTime(ctx, longPatience, func(ctx context.Context) error {
		return p.ofThat(p.Client.Delete(ctx, o, client.Preconditions{UID: &uid}))
	})
}

// patchPod sets one label or annotation of the pod that was observed; "" removes it.
func (p *pass) patchPod(ctx context.Context, name, field, key, value string) error {
	m := p.seen.Members[name]
	if m.Pod == nil {
		return nil
	}
	var v any
	if value != "" {
		v = value
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": m.Pod.UID, field: map[string]any{key: v}}})
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: p.store.Namespace, Name: name}}
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	return p.ofThat(p.Client.Patch(ctx, pod, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(v1alpha1.FieldOwner)))
}

// ofThat judges the error of a write to a pod or claim with a given UID: that the object is gone is no error, and that it
// was replaced means that our list of pods and claims is too old.
func (p *pass) ofThat(err error) error {
	p.Outdated.Members = p.Outdated.Members || apierrors.IsConflict(err) || apierrors.IsInvalid(err) // a patch with another UID is invalid
	return client.IgnoreNotFound(err)
}

// finishRequest publishes the outcome first: if the operator dies in between, the request is answered twice rather than
// never. It then removes the request that it answers, but not another one that arrived meanwhile: by then p.store is what
// the API server returned for the outcome.
func (p *pass) finishRequest(ctx context.Context, outcome v1alpha1.FailoverRequestStatus) error {
	old := p.store.DeepCopy()
	p.store.Status.FailoverRequest = &outcome
	if err := p.Client.Status().Patch(ctx, p.store, client.MergeFrom(old), client.FieldOwner(v1alpha1.FieldOwner)); err != nil {
		return fmt.Errorf("publish the outcome: %w", err)
	}
	if p.store.Annotations[v1alpha1.AnnotationFailover] != outcome.Target {
		return nil
	}
	old = p.store.DeepCopy()
	delete(p.store.Annotations, v1alpha1.AnnotationFailover)
	return p.Client.Patch(ctx, p.store, client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{}), client.FieldOwner(v1alpha1.FieldOwner))
}
