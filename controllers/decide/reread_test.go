package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// A cached record is good enough to find that there is nothing to do and nothing new, and a cached store to find that
// there is nothing to do. Before anything is done, they are read from the API server.
func TestWhatIsCachedIsReadAnewBeforeAnythingIsDone(t *testing.T) {
	nothing, record, both := decide.Reads{}, decide.Reads{Record: true}, decide.Reads{Record: true, Store: true}
	for name, tc := range map[string]struct {
		happens func(*world)
		want    decide.Reads
	}{
		"nothing":                  {func(*world) {}, nothing},
		"a renewal":                {(*world).renew, nothing},
		"its leader is lost":       {func(w *world) { w.cluster.Crash("orders-1") }, both},
		"its leader hangs":         {func(w *world) { w.cluster.Vanish("orders-1") }, both},
		"a follower misses a look": {func(w *world) { w.cluster.Vanish("orders-3") }, nothing},
		"a follower is lost": {func(w *world) {
			w.cluster.Vanish("orders-3")
			w.ops[0].observe()
			w.cluster.Advance(3 * time.Second)
			w.renew()
		}, both}, // the others are told again whom to follow
		"a pod is not labelled":     {func(w *world) { w.pods["orders-2"].Role = "" }, both},
		"clients are led elsewhere": {func(w *world) { w.route = &decide.Route{} }, both},
		"more members are asked":    {func(w *world) { w.store.Spec.Replicas = new(int32(4)) }, both},
		"fewer members are asked":   {func(w *world) { w.store.Spec.Replicas = new(int32(2)) }, both},
		"it is paused": {func(w *world) {
			w.store.Annotations[v1alpha1.AnnotationReconcile] = v1alpha1.ReconcileDisabled
		}, record},
		"a handover is asked for": {func(w *world) {
			w.store.Annotations[v1alpha1.AnnotationFailover] = v1alpha1.FailoverToAny
		}, both},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			op := w.ops[0]
			tc.happens(w)
			op.observe()
			op.seen.Cached = decide.Reads{Record: true, Members: true, Store: true}
			op.decide()
			if got := op.plan.Reread; got != tc.want {
				t.Errorf("%v %v: to be read anew: %+v", op.plan.Outcome(), op.plan.Actions, got)
			}
			op.seen.Cached = decide.Reads{}
			op.decide()
			if op.plan.Reread.Any() {
				t.Errorf("asks for more than everything: %+v", op.plan.Reread)
			}
		})
	}
}

// An operator that has just started has no earlier outcome, so whatever its first plan comes to counts as new.
func TestAnOperatorThatHasJustStartedReadsTheRecord(t *testing.T) {
	w := started(t, 3, 1)
	op := w.ops[0]
	op.die()
	op.observe()
	op.seen.Cached = decide.Reads{Record: true, Members: true}
	if op.decide(); !op.plan.Reread.Record {
		t.Errorf("%v rests on a cache alone", op.plan.Outcome())
	}
}

// If there is no record that can be believed, the members are those in the list, so the list must be the newest one.
func TestMembersAreListedAnewWhereNoRecordNamesThem(t *testing.T) {
	for name, tc := range map[string]struct {
		happens func(w *world, old string)
		want    bool
	}{
		"the record is older": {func(w *world, old string) { w.record, w.version = old, w.version+1 }, true},
		"the record is gone":  {func(w *world, _ string) { w.record, w.version = "", 0 }, true},
		"a leader is lost":    {func(w *world, _ string) { w.cluster.Crash(w.rec().Leader.Member) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			old := w.record
			w.cluster.Crash("orders-1")
			w.until("another leader", func() bool { return w.rec().Epoch == 2 && w.rec().Phase == decide.PhaseStable })
			w.run(time.Second)
			tc.happens(w, old)
			op := w.ops[0]
			op.observe()
			op.seen.Cached.Members = true
			if op.decide(); op.plan.Reread.Members != tc.want {
				t.Errorf("%v: members are listed anew: %t", op.plan.Outcome(), op.plan.Reread.Members)
			}
		})
	}
}

// A new store is created on empty members only after a look at every existing volume.
func TestMembersAreListedAnewBeforeAStoreIsBegun(t *testing.T) {
	w := newWorld(t, 3, 1)
	op := w.ops[0]
	for range 10 {
		op.observe()
		op.seen.Cached.Members = true
		if op.decide(); op.plan.State == decide.Promoting {
			break
		}
		if op.plan.Reread.Any() {
			t.Fatalf("%v: %+v", op.plan.Outcome(), op.plan.Reread)
		}
		_ = op.act(-1)
	}
	if !op.plan.Reread.Members {
		t.Errorf("%v: %+v", op.plan.Outcome(), op.plan.Reread)
	}
}

// A person asks on a pod for its data to be discarded, and may have taken that back since: the cache decides neither that
// its claim goes nor that its pod does.
func TestMembersAreListedAnewBeforeDataIsDiscarded(t *testing.T) {
	w := started(t, 3, 1)
	w.run(2 * time.Second)
	w.pods["orders-3"].Reseed = true
	op, claim, pod := w.ops[0], false, false
	for n := 0; n < 50 && !pod; n++ {
		w.cluster.Settle()
		w.renew()
		op.pass = decide.Pass{}
		op.observe()
		op.seen.Cached.Members = true
		op.decide()
		for _, a := range op.plan.Actions {
			_, c := a.(decide.DeleteClaim)
			_, p := a.(decide.DeletePod)
			claim, pod = claim || c, pod || p
			if (c || p) && !op.plan.Reread.Members {
				t.Errorf("%v, as a cache says", a)
			}
		}
		if op.act(-1) != nil {
			t.Fatal(w.tail())
		}
	}
	if !claim || !pod {
		t.Fatalf("nothing is discarded: %s", w.tail())
	}
}
