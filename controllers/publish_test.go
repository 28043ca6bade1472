package controllers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// deleted is a cluster in which the store is already gone.
type deleted struct{ client.Client }

func (deleted) Status() client.SubResourceWriter { return deletedStatus{} }

type deletedStatus struct{ client.SubResourceWriter }

func (deletedStatus) Patch(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: "replicatedstores"}, "orders")
}

// TestStoreDeletedMeanwhileIsNoError: there is nothing left to publish to, and nothing to retry.
func TestStoreDeletedMeanwhileIsNoError(t *testing.T) {
	p := &pass{
		Reconciler: &Reconciler{Client: deleted{}}, memory: newMemory(),
		store: &v1alpha1.ReplicatedStore{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders"}},
	}
	plan := decide.Plan{State: decide.Deleting}
	plan.Status.Leader = "orders-1"
	if err := p.publish(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
}

// changed is a cluster in which somebody has written a newer status since the cache saw the store.
type changed struct {
	client.Client
	patches []string
}

func (c *changed) Status() client.SubResourceWriter { return changedStatus{c: c} }

type changedStatus struct {
	client.SubResourceWriter
	c *changed
}

func (s changedStatus) Patch(_ context.Context, o client.Object, p client.Patch, _ ...client.SubResourcePatchOption) error {
	b, err := p.Data(o)
	if err != nil {
		return err
	}
	s.c.patches = append(s.c.patches, string(b))
	return apierrors.NewConflict(schema.GroupResource{Resource: "replicatedstores"}, "orders", errors.New("changed"))
}

// TestStatusIsNotMixedFromAnOlderCopy: a patch against an old copy of the store left the newer "Running" of a failover next
// to the counter that its success had raised, so the next pass counted it again. (Found by the soak.)
func TestStatusIsNotMixedFromAnOlderCopy(t *testing.T) {
	c := &changed{}
	p := &pass{
		Reconciler: &Reconciler{Client: c}, memory: newMemory(),
		store: &v1alpha1.ReplicatedStore{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders", ResourceVersion: "7"}},
	}
	plan := decide.Plan{State: decide.Stable}
	plan.Status.Counters.Failovers = 1
	if err := p.publish(t.Context(), plan); !apierrors.IsConflict(err) {
		t.Fatalf("published onto a newer store: %v", err)
	}
	if len(c.patches) != 1 || !strings.Contains(c.patches[0], `"resourceVersion":"7"`) {
		t.Fatalf("patches %q", c.patches)
	}
	if !p.Outdated.Store {
		t.Fatal("the next pass goes by the same old copy")
	}
}

// patched is a cluster that accepts every status.
type patched struct {
	client.Client
	n int
}

func (c *patched) Status() client.SubResourceWriter { return patchedStatus{c: c} }

type patchedStatus struct {
	client.SubResourceWriter
	c *patched
}

func (s patchedStatus) Patch(ctx context.Context, _ client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.c.n++
	return nil
}

// TestFiguresAreNotPublishedByEveryPass: figures and texts change with every write of a client, and every second of an
// outage.
func TestFiguresAreNotPublishedByEveryPass(t *testing.T) {
	c := &patched{}
	r, m := &Reconciler{Client: c}, newMemory()
	began := time.Now()
	store := &v1alpha1.ReplicatedStore{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders"}}
	plan := decide.Plan{State: decide.Stable}
	plan.Status.Members = []v1alpha1.MemberStatus{{Name: "orders-1", Role: v1alpha1.MemberLeader}}
	plan.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAvailable, Status: metav1.ConditionTrue}}
	plan.Status.LastFailover = &v1alpha1.FailoverReport{Epoch: 2, Result: v1alpha1.ResultBlocked}
	pass := func(after time.Duration, want int, what string) {
		t.Helper()
		p := &pass{Reconciler: r, memory: m, store: store, began: began.Add(after)}
		if err := p.publish(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		if c.n != want {
			t.Fatalf("%s: written %d times, want %d", what, c.n, want)
		}
	}
	pass(0, 1, "the first")
	plan.Status.Members[0].Position = 7
	plan.Status.Conditions[0].Message = "for 1s"
	pass(100*time.Millisecond, 1, "figures, at once")
	plan.Status.LastFailover.Message = "silent for 1s"
	pass(200*time.Millisecond, 1, "the text of a report, at once")
	pass(figuresEvery, 2, "the same figures, later")
	plan.Status.Conditions[0].Status = metav1.ConditionFalse
	pass(figuresEvery+time.Millisecond, 3, "a condition, at once")
	plan.Status.LastFailover.Result = v1alpha1.ResultRunning
	pass(figuresEvery+2*time.Millisecond, 4, "the result of a report, at once")
	pass(time.Hour, 4, "nothing")
}

// A pass that has run out of time publishes its result all the same.
func TestStatusIsToldHoweverLongThePassTook(t *testing.T) {
	c := &patched{}
	p := &pass{
		Reconciler: &Reconciler{Client: c}, memory: newMemory(),
		store: &v1alpha1.ReplicatedStore{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders"}},
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	plan := decide.Plan{State: decide.Stable}
	plan.Status.Leader = "orders-1"
	if err := p.publish(ended, plan); err != nil || c.n != 1 {
		t.Errorf("written %d times: %v", c.n, err)
	}
}

// The API server rejects an event whose note is longer than 1024 bytes, so nobody would be told.
func TestALongErrorFitsIntoAnEvent(t *testing.T) {
	s := newScene(t)
	s.whole()
	p := &pass{Reconciler: s.Reconciler, memory: s.memory, store: s.store}
	long := errors.New(strings.Repeat("ä", 2000))
	for range 2 {
		p.warn(v1alpha1.ReasonApplyFailed, errors.Join(long, long))
	}
	if told := s.told(); len(told) > 1024 || strings.Count(told, v1alpha1.ReasonApplyFailed) != 1 || !strings.HasSuffix(told, "ä ...") {
		t.Errorf("%d bytes: %s", len(told), told)
	}
}

// The same holds for what a plan or a note says in the words of the scheduler, kubelet or the API server.
func TestALongPlanFitsIntoAnEvent(t *testing.T) {
	s := newScene(t)
	s.whole()
	p := &pass{Reconciler: s.Reconciler, memory: s.memory, store: s.store}
	p.memory.noted = map[string]time.Time{}
	long := strings.Repeat("0/3 nodes are available. ", 100)
	p.announce(t.Context(), decide.Plan{State: decide.Blocked, Reason: "Blocked", Message: "why: " + long, Notes: []decide.Note{{Key: "k", Reason: "Noted", Message: "note: " + long}}})
	for range 2 {
		if told := <-s.Recorder.(*events.FakeRecorder).Events; len(told) > 1024 || !strings.HasSuffix(told, " ...") {
			t.Errorf("%d bytes: %s", len(told), told)
		}
	}
}

// TestAFailoverThatLostWritesIsAWarning checks that, and that a failover that lost none is not a warning.
func TestAFailoverThatLostWritesIsAWarning(t *testing.T) {
	for lost, want := range map[string]string{v1alpha1.LostNone: "Normal FailoverSucceeded", "12": "Warning FailoverSucceeded", v1alpha1.LostUnknown: "Warning FailoverSucceeded"} {
		s := newScene(t)
		s.whole()
		before, now := led(2, decide.PhasePromoting, "orders-2"), led(2, decide.PhaseStable, "orders-2")
		now.WritesLost = lost
		p := &pass{Reconciler: s.Reconciler, memory: s.memory, store: s.store}
		p.seen.Lease.Record = &before
		p.recorded(now)
		if told := s.told(); !strings.Contains(told, want) || !strings.Contains(told, "writes lost: "+lost) {
			t.Errorf("%s lost: %s", lost, told)
		}
	}
}
