package decide_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// TestAsynchronous: with k = 0 the followers protect nothing, so the spec decides about loss.
func TestAsynchronous(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(*v1alpha1.ReplicatedStoreSpec)
		unseen  int    // writes of the leader that nobody else has
		blocked string // reason once the Lease has expired
		lost    string
	}{
		"forbid":                        {func(*v1alpha1.ReplicatedStoreSpec) {}, 3, v1alpha1.ReasonDataLossForbidden, ""},
		"allow":                         {allow, 3, "", v1alpha1.LostUnknown},
		"bounded, within":               {bounded(3), 3, "", "3"},
		"bounded, beyond":               {bounded(2), 3, v1alpha1.ReasonLossBoundExceeded, ""},
		"bounded, nothing known missed": {bounded(2), 0, "", v1alpha1.LostUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 0, tc.change)
			for range tc.unseen {
				w.cluster.Write("orders-1")
				w.cluster.Sync("orders-1")
			}
			w.ops[0].reconcile() // it learns how far the leader is
			w.cluster.Vanish("orders-1")
			w.run(2 * time.Second)
			if got := w.condition(v1alpha1.ConditionFailoverBlocked); got.Reason != v1alpha1.ReasonLeaderMayBeAlive {
				t.Fatalf("before the Lease expired: %+v", got)
			}
			w.run(8 * time.Second)
			got := w.condition(v1alpha1.ConditionFailoverBlocked)
			if tc.blocked != "" {
				if got.Reason != tc.blocked || w.rec().Epoch != 1 {
					t.Fatalf("got %s in epoch %d, want %s in epoch 1", got.Reason, w.rec().Epoch, tc.blocked)
				}
				return
			}
			if r := w.rec(); r.Epoch != 2 || r.Phase != decide.PhaseStable || r.WritesLost != tc.lost {
				t.Fatalf("record %+v, want lost %q\n%s", r, tc.lost, w.tail())
			}
		})
	}
}

// TestMembersTellHowFarTheLeaderWas: the operator asks the leader seldom, whereas members hear it many times a second.
func TestMembersTellHowFarTheLeaderWas(t *testing.T) {
	for bound, want := range map[int64]string{5: "", 6: "6"} {
		w := started(t, 3, 0, bounded(bound))
		for range 10 {
			w.cluster.Write("orders-1")
		}
		w.cluster.Sync("orders-1")
		w.cluster.Ship("orders-2") // as much as one message holds: four
		w.cluster.Vanish("orders-1")
		w.run(10 * time.Second)
		if want == "" {
			if got := w.condition(v1alpha1.ConditionFailoverBlocked); got.Reason != v1alpha1.ReasonLossBoundExceeded || w.rec().Epoch != 1 {
				t.Fatalf("bound %d: %+v", bound, got)
			}
			continue
		}
		if r := w.rec(); r.Phase != decide.PhaseStable || r.WritesLost != want {
			t.Fatalf("bound %d: lost %q, want %q\n%s", bound, r.WritesLost, want, w.tail())
		}
	}
}

// TestAsynchronousLeaderRestarts: the leader itself is fenced, so nothing is lost whatever the spec says.
func TestAsynchronousLeaderRestarts(t *testing.T) {
	w := started(t, 3, 0)
	w.cluster.Write("orders-1")
	w.cluster.Sync("orders-1")
	w.cluster.Crash("orders-1")
	w.kubelet()
	w.until("another epoch", func() bool { return w.rec().Epoch == 2 && w.rec().Phase == decide.PhaseStable })
	if r := w.rec(); r.Leader.Member != "orders-1" || r.WritesLost != v1alpha1.LostNone {
		t.Fatalf("record %+v", r)
	}
}

// TestSecondFailureBeforeTheBarrier: orders-2 is elected, and lost before its barrier is on orders-3. orders-3 alone may
// lack what orders-1 acknowledged with orders-2, and must not be promoted.
func TestSecondFailureBeforeTheBarrier(t *testing.T) {
	w := started(t, 3, 1)
	for range 3 { // acknowledged by orders-1 and orders-2 only
		w.cluster.Write("orders-1")
		w.cluster.Sync("orders-1")
		w.cluster.Ship("orders-2")
	}
	w.cluster.Vanish("orders-1")
	op := w.ops[0]
	for range 40 {
		w.cluster.Advance(100 * time.Millisecond)
		op.pass = decide.Pass{}
		for range 12 {
			op.observe()
			op.decide()
			if op.act(-1) != nil || !op.plan.Risky() || w.rec().Phase == decide.PhasePromoting {
				break
			}
		}
		if w.rec().Phase == decide.PhasePromoting {
			break
		}
	}
	if r := w.rec(); r.Leader.Member != "orders-2" {
		t.Fatalf("orders-2 holds the most: %+v", r)
	}
	w.cluster.Vanish("orders-2")
	w.run(20 * time.Second)
	if r := w.rec(); r.Leader.Member == "orders-3" {
		t.Fatalf("orders-3 leads without what was acknowledged: %+v", r)
	}
	if got := w.condition(v1alpha1.ConditionFailoverBlocked); got.Reason != v1alpha1.ReasonFenceQuorumMissing {
		t.Fatalf("%+v", got)
	}
	w.cluster.Start("orders-1", "orders-1") // it holds everything, and is fenced now
	w.until("a leader", func() bool { return w.rec().Phase == decide.PhaseStable })
	if missing := w.cluster.Missing(w.rec().Leader.Member); len(missing) > 0 {
		t.Fatalf("missing %v", missing)
	}
}

func lose(w *world) { w.record, w.version, w.holder = "", 0, "" }

func TestRecordLost(t *testing.T) {
	t.Run("its leader lives and keeps leading", func(t *testing.T) {
		w := started(t, 3, 1)
		lose(w)
		w.run(time.Second)
		if r := w.rec(); r.Epoch != 1 || r.Phase != decide.PhaseStable || r.Leader.Member != "orders-1" || len(r.Rules[0].Voters) != 2 {
			t.Fatalf("record %+v", r)
		}
	})
	t.Run("its leader is gone too: everybody must answer", func(t *testing.T) {
		w := started(t, 3, 1)
		w.cluster.Vanish("orders-1")
		lose(w)
		w.run(5 * time.Second)
		if got := w.condition(v1alpha1.ConditionFailoverBlocked); w.record != "" || got.Reason != v1alpha1.ReasonRecordLost {
			t.Fatalf("record %q, %+v", w.record, got)
		}
		w.cluster.Start("orders-1", "orders-1")
		w.untilState(decide.Stable)
		if r := w.rec(); r.Epoch != 2 {
			t.Fatalf("record %+v", r)
		}
	})
	t.Run("an empty member stands in for nobody", func(t *testing.T) {
		w := started(t, 3, 1)
		for _, m := range w.cluster.Names() {
			w.cluster.Crash(m)
		}
		w.cluster.Wipe("orders-1")
		lose(w)
		w.kubelet()
		w.run(10 * time.Second)
		if w.record != "" {
			t.Fatalf("record %s", w.record)
		}
		w.store.Spec.Failover.DataLoss = v1alpha1.DataLossAllow
		w.until("a leader", func() bool { return w.record != "" && w.rec().Phase == decide.PhaseStable })
		if r := w.rec(); r.WritesLost != v1alpha1.LostUnknown || r.Leader.Member == "orders-1" {
			t.Fatalf("record %+v", r)
		}
	})
}

func TestRecordOldOrUnreadable(t *testing.T) {
	t.Run("restored from an older copy", func(t *testing.T) {
		w := started(t, 3, 1)
		old := w.record
		w.cluster.Crash("orders-1")
		w.until("another leader", func() bool { return w.rec().Epoch == 2 && w.rec().Phase == decide.PhaseStable })
		w.kubelet()
		w.untilState(decide.Stable)
		leader := w.rec().Leader.Member
		w.record = old
		w.run(time.Second)
		if r := w.rec(); r.Epoch != 2 || r.Leader.Member != leader || r.Phase != decide.PhaseStable {
			t.Fatalf("record %+v", r)
		}
	})
	t.Run("unreadable", func(t *testing.T) {
		w := started(t, 3, 1)
		w.record = `{"epoch":1,"phase":"Stable"`
		w.run(time.Second)
		if r := w.rec(); r.Epoch != 1 || r.Leader.Member != "orders-1" {
			t.Fatalf("record %+v", r)
		}
	})
}

// TestRecordKeepsEverything checks that DecodeRecord reads what Encode writes, and rejects records that break the
// invariants.
func TestRecordKeepsEverything(t *testing.T) {
	w := started(t, 3, 1)
	w.cluster.Vanish("orders-1")
	w.until("promotion", func() bool { return w.rec().Epoch == 2 })
	again, err := decide.DecodeRecord(w.rec().Encode())
	if err != nil || again.Encode() != w.record {
		t.Fatalf("%v\n%s\n%s", err, again.Encode(), w.record)
	}
	for name, text := range map[string]string{
		"not JSON":                    "{",
		"no epoch":                    `{"phase":"Stable"}`,
		"unknown phase":               `{"epoch":1,"phase":"Dancing"}`,
		"stable without a leader":     `{"epoch":1,"phase":"Stable","rules":[{"voters":[],"k":0}]}`,
		"leader votes for itself":     `{"epoch":1,"phase":"Stable","leader":{"member":"a","incarnation":"i"},"rules":[{"voters":[{"member":"a","incarnation":"i"}],"k":1}]}`,
		"binding leadership is newer": `{"epoch":2,"phase":"Fencing","binding":[{"epoch":2,"leader":{"member":"a","incarnation":"i"},"rules":[{"voters":[],"k":0}]}]}`,
	} {
		if r, err := decide.DecodeRecord(text); err == nil {
			b, _ := json.Marshal(r)
			t.Errorf("%s: took %s", name, b)
		}
	}
}

// TestAnotherDiskIsNobodysVoter: orders-3 acknowledged writes, and comes back with another disk. It stands in for nobody
// when the leader is lost too, and an empty member never leads, not even if loss is allowed.
func TestAnotherDiskIsNobodysVoter(t *testing.T) {
	t.Run("it completes no quorum", func(t *testing.T) {
		w := started(t, 3, 1)
		for range 3 { // acknowledged by orders-1 and orders-3 only
			w.cluster.Write("orders-1")
			w.cluster.Sync("orders-1")
			w.cluster.Ship("orders-3")
		}
		w.cluster.Vanish("orders-1")
		w.cluster.Crash("orders-3")
		w.cluster.Wipe("orders-3")
		w.kubelet()
		w.cluster.Vanish("orders-1")
		w.run(20 * time.Second)
		if got := w.condition(v1alpha1.ConditionFailoverBlocked); got.Reason != v1alpha1.ReasonFenceQuorumMissing {
			t.Fatalf("%+v, record %+v", got, w.rec())
		}
	})
	t.Run("an empty one never leads", func(t *testing.T) {
		w := started(t, 2, 1, allow)
		w.cluster.Vanish("orders-1")
		w.cluster.Crash("orders-2")
		w.cluster.Wipe("orders-2")
		w.cluster.Start("orders-2", "orders-2")
		w.run(20 * time.Second)
		if got := w.condition(v1alpha1.ConditionFailoverBlocked); got.Reason != v1alpha1.ReasonNoCandidate {
			t.Fatalf("%+v, record %+v", got, w.rec())
		}
	})
}

// TestRecordLostIsBlockedWhilePodsAreMade checks that creating members meanwhile does not lift the block.
func TestRecordLostIsBlockedWhilePodsAreMade(t *testing.T) {
	w := started(t, 3, 1)
	w.remove("orders-1", "")
	lose(w)
	op := w.ops[0]
	op.observe()
	op.decide()
	op.publish()
	if len(op.plan.Actions) == 0 || op.plan.Risky() || op.plan.State != decide.RecordLost {
		t.Fatalf("%v %v", op.plan.State, op.plan.Actions)
	}
	if got := w.condition(v1alpha1.ConditionFailoverBlocked); got.Reason != v1alpha1.ReasonRecordLost {
		t.Fatalf("%+v", got)
	}
}
