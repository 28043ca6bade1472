package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// publishPatience bounds the writing of status. It does not count against the pass: the result of a pass is published
// however long the pass took.
const publishPatience = 5 * time.Second

// publish writes status, if it changed, and metrics. It publishes nothing if no plan was made. An operator on standby
// withdraws its metrics of the store, even if it cannot see the store.
func (p *pass) publish(ctx context.Context, plan decide.Plan) error {
	never := plan.State == decide.StateInvalid
	switch {
	case plan.Standby, never && !p.Election.acting():
		stores.forget(client.ObjectKeyFromObject(p.store)) // another operator exports it
		return nil
	case never:
		return nil
	}
	if plan.StandsIn == 0 { // otherwise the store is soon another operator's again
		stores.show(client.ObjectKeyFromObject(p.store), plan)
		stores.saw(client.ObjectKeyFromObject(p.store), p.began)
	}
	status := plan.Status.DeepCopy()
	status.FailoverRequest = p.store.Status.FailoverRequest // finishRequest has already written the newest
	if p.takenUp != status.ObservedGeneration {
		observed(status, p.store.Status.ObservedGeneration)
	}
	if equality.Semantic.DeepEqual(*status, p.store.Status) {
		return nil
	}
	if p.soonAgain(status) {
		p.within(figuresEvery)
		return nil
	}
	old := p.store.DeepCopy()
	p.store.Status = *status
	// If p.store is outdated, a patch would mix the two: fields unchanged since that copy would keep their newer values
	// beside those that changed. The lock turns that into a conflict.
	patch := client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishPatience)
	defer cancel()
	err := p.Client.Status().Patch(ctx, p.store, patch, client.FieldOwner(v1alpha1.FieldOwner))
	p.Outdated.Store = apierrors.IsConflict(err)
	if client.IgnoreNotFound(err) != nil {
		p.store.Status = old.Status
		return fmt.Errorf("publish status: %w", err)
	}
	p.published = p.began
	return nil
}

// tellFirst publishes what must be known before the plan is carried out. If p.store was outdated the plan must be made anew;
// other failures hold back only what must wait to be published.
func (p *pass) tellFirst(ctx context.Context, plan decide.Plan) error {
	first, waits := plan.TellFirst(p.store)
	if !first {
		return nil
	}
	err := p.publish(ctx, plan)
	if err == nil || waits || apierrors.IsConflict(err) {
		return err
	}
	log.FromContext(ctx).Info("Could not publish the status before acting", keyMessage, err.Error())
	return nil
}

// observed attributes a status and its conditions to another generation of the spec.
func observed(status *v1alpha1.ReplicatedStoreStatus, generation int64) {
	status.ObservedGeneration = generation
	for i := range status.Conditions {
		status.Conditions[i].ObservedGeneration = generation
	}
}

// figuresEvery is how often status is written if only figures and texts changed: these change with every write of the
// store's clients.
const figuresEvery = time.Second

// soonAgain reports whether publishing status may be left to a later pass, because apart from figures and texts everything
// in it is published.
func (p *pass) soonAgain(status *v1alpha1.ReplicatedStoreStatus) bool {
	return !p.published.IsZero() && p.began.Sub(p.published) < figuresEvery &&
		equality.Semantic.DeepEqual(withoutFigures(status), withoutFigures(&p.store.Status))
}

func withoutFigures(status *v1alpha1.ReplicatedStoreStatus) *v1alpha1.ReplicatedStoreStatus {
	s := status.DeepCopy()
	s.Summary.Lag = ""
	if s.LastFailover != nil {
		s.LastFailover.Message = ""
	}
	for i := range s.Conditions {
		s.Conditions[i].Message = ""
	}
	for i := range s.Members {
		m := &s.Members[i]
		m.Epoch, m.Position, m.Applied, m.Lag, m.Problem = 0, 0, 0, nil, ""
		if m.Storage != nil {
			m.Storage.Free, m.Storage.FreeBytes = "", 0
		}
		if m.Seeding != nil {
			m.Seeding = &v1alpha1.SeedingStatus{From: m.Seeding.From}
		}
	}
	return s
}

// announce logs and records an event when what is being done, or the reason for it, changes, and once for each note.
func (p *pass) announce(ctx context.Context, plan decide.Plan) {
	for _, n := range p.fresh(plan.Notes, plan.Standby, p.Clock.Now()) {
		kind := corev1.EventTypeNormal
		if n.Warning {
			kind = corev1.EventTypeWarning
		}
		log.FromContext(ctx).Info("Noted", keyReason, n.Reason, keyMessage, n.Message)
		p.Recorder.Eventf(p.store, p.related(n.Member), kind, n.Reason, n.Action, "%s", noted(n.Message))
	}
	if plan.Standby || p.said == plan.Outcome() {
		return
	}
	first := p.said == decide.Outcome{}
	p.said = plan.Outcome()
	log.FromContext(ctx).Info("Decided", keyState, plan.State.String(), keyReason, plan.Reason, keyMessage, plan.Message)
	if first && plan.State == decide.Stable {
		return // the operator was restarted; nothing happened to the store
	}
	kind := corev1.EventTypeNormal
	switch plan.State {
	case decide.Blocked, decide.RecordLost, decide.Suspecting:
		kind = corev1.EventTypeWarning
	default:
		if plan.Reason == v1alpha1.ReasonApplyFailed {
			kind = corev1.EventTypeWarning
		}
	}
	p.Recorder.Eventf(p.store, nil, kind, plan.Reason, plan.State.String(), "%s", noted(plan.Message))
}

// warnAgain is after how long a failure that persists is reported again.
const warnAgain = 10 * time.Minute

// related returns the pod of the member that an event is about; nil if member is "". Events about one version of the store
// that agree in everything but their text are merged into one, with the text of the first, so events about two members must
// differ in something else.
func (p *pass) related(member string) runtime.Object {
	if member == "" {
		return nil
	}
	ref := &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: p.store.Namespace, Name: member}
	if m := p.seen.Members[member]; m.Pod != nil {
		ref.UID = m.Pod.UID
	}
	return ref
}

// warn records an event about a failure, and does not repeat it while the failure persists.
func (p *pass) warn(reason string, err error) { p.warnOf("Apply", "", reason, err) }

// warnOf is warn with the action that failed, as one word, and the member concerned; "" for none.
func (p *pass) warnOf(action, member, reason string, err error) {
	if errors.Is(err, errNotOwned) {
		reason = v1alpha1.ReasonNotOwned
	}
	if errors.Is(err, errOthersFirst) {
		return
	}
	now, note := p.Clock.Now(), brief(distinct(err.Error()))
	maps.DeleteFunc(p.warned, func(_ string, at time.Time) bool { return now.Sub(at) >= warnAgain })
	if _, told := p.warned[note]; told {
		return
	}
	p.warned[note] = now
	p.Recorder.Eventf(p.store, p.related(member), corev1.EventTypeWarning, reason, action, "%s", note)
}

// distinct drops repeated lines: joined errors may contain the same one twice.
func distinct(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// recorded counts a change of leader when the record that finishes it was written: once, by the operator that wrote it.
func (p *pass) recorded(rec decide.Record) {
	before := p.seen.Lease.Record
	switch {
	case before != nil && before.Phase == decide.PhasePromoting && rec.Phase == decide.PhaseStable:
		countFailover(rec, v1alpha1.ResultSucceeded)
		reason := v1alpha1.ReasonFailoverSucceeded
		switch rec.Kind {
		case v1alpha1.KindHandover:
			reason = v1alpha1.ReasonHandoverSucceeded
		case v1alpha1.KindBootstrap, v1alpha1.KindWake:
			reason = v1alpha1.ReasonLeaderElected
		case v1alpha1.KindFailover:
		}
		kind := corev1.EventTypeNormal
		if rec.WritesLost != v1alpha1.LostNone {
			kind = corev1.EventTypeWarning
		}
		p.Recorder.Eventf(p.store, nil, kind, reason, string(rec.Kind), "%s leads epoch %d; writes lost: %s.",
			rec.Leader.Member, rec.Epoch, rec.WritesLost)
	case before != nil && before.Phase == decide.PhasePromoting && rec.Epoch > before.Epoch:
		countFailover(*before, v1alpha1.ResultFailed)
		p.Recorder.Eventf(p.store, nil, corev1.EventTypeWarning, v1alpha1.ReasonFailoverFailed, string(before.Kind),
			"%s did not become leader of epoch %d: %s.", before.Leader.Member, before.Epoch, rec.Reason)
	}
}
