package decide_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// TestLeaseOfSomebodyElse checks that a Lease with the store's name says nothing about the store unless it belongs to the
// store.
func TestLeaseOfSomebodyElse(t *testing.T) {
	for name, tc := range map[string]struct {
		owner  decide.LeaseOwner
		reason string
	}{
		"an earlier store's": {decide.OwnedByEarlier, v1alpha1.ReasonEarlierStore},
		"an application's":   {decide.OwnedByOther, v1alpha1.ReasonNotOwned},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			op := w.ops[0]
			op.observe()
			op.seen.Lease = decide.Lease{Exists: true, ResourceVersion: "77", Owner: tc.owner}
			op.decide()
			if op.plan.Reason != tc.reason || op.plan.Risky() {
				t.Fatalf("%v (%s): %v", op.plan.State, op.plan.Reason, op.plan.Actions)
			}
			if !strings.Contains(op.plan.Message, "Lease") || op.plan.Status.Epoch != 0 {
				t.Fatalf("%s; epoch %d", op.plan.Message, op.plan.Status.Epoch)
			}
		})
	}
	t.Run("nobody's is taken over with its record", func(t *testing.T) {
		w := newWorld(t, 3, 1)
		w.store.UID = "first"
		w.untilState(decide.Stable)
		w.store.UID = "second"
		op := w.ops[0]
		op.observe()
		op.seen.Lease.Owner = decide.OwnedByNobody
		op.decide()
		if len(op.plan.Actions) != 1 {
			t.Fatalf("%v: %v", op.plan.State, op.plan.Actions)
		}
		a, ok := op.plan.Actions[0].(decide.WriteRecord)
		if !ok || len(a.Record.Stores) != 2 || a.Record.Stores[0] != "first" || a.Record.Stores[1] != "second" {
			t.Fatalf("%v: %+v", op.plan.Actions, a.Record.Stores)
		}
		a.Record.Stores = a.Record.Stores[:1]
		if a.Record.Encode() != w.record {
			t.Fatalf("the record changes: %+v", a.Record)
		}
	})
}

// TestForeignVolume checks that a member whose volume served another store, and that promised a high epoch there, deposes
// nobody, is never elected, and is reported.
func TestForeignVolume(t *testing.T) {
	w := started(t, 3, 1)
	op := w.ops[0]
	w.store.UID = "ours"
	op.observe()
	m := op.seen.Members["orders-3"]
	s := *m.Probe.Status
	s.DataUID, s.Promised, s.Incarnation = "theirs", 900, "elsewhere"
	s.Durable.Epoch, s.Durable.Position = 900, 1_000_000
	m.Probe.Status = &s
	op.seen.Members["orders-3"] = m
	op.decide()
	if op.plan.State == decide.RecordLost || op.plan.Risky() && op.plan.State != decide.ChangingVoters {
		t.Fatalf("%v: %s %v", op.plan.State, op.plan.Message, op.plan.Actions)
	}
	for _, c := range op.plan.Status.Conditions {
		if c.Type == v1alpha1.ConditionDegraded && !strings.Contains(c.Message, "orders-3 holds the data of another store") {
			t.Fatalf("Degraded: %s", c.Message)
		}
	}
	t.Run("one that the record counts on is no foreigner", func(t *testing.T) {
		op.observe()
		m := op.seen.Members["orders-3"]
		s := *m.Probe.Status
		s.DataUID = "theirs"
		m.Probe.Status = &s
		op.seen.Members["orders-3"] = m
		op.decide()
		if op.plan.State != decide.Stable {
			t.Fatalf("%v: %s", op.plan.State, op.plan.Message)
		}
	})
}

// TestForeignVolumeInAFailover checks that such a member is not fenced either, which would make it part of this store, nor
// counted in an election. For the same reason nobody is fenced whose pod has not yet said what its volume holds, whether or
// not the record depends on a member of that name.
func TestForeignVolumeInAFailover(t *testing.T) {
	for name, tc := range map[string]struct {
		who   string
		says  func(*decide.Probe)
		asked bool
	}{
		"it says so":                             {"orders-4", func(p *decide.Probe) { p.Status.DataUID = "theirs" }, false},
		"it never answered":                      {"orders-4", func(p *decide.Probe) { *p = decide.Probe{Reach: decide.TimedOut} }, false},
		"it is one of this store":                {"orders-4", func(*decide.Probe) {}, true},
		"a voter never answered":                 {"orders-2", func(p *decide.Probe) { *p = decide.Probe{Reach: decide.Refused} }, false},
		"a voter's pod before this one answered": {"orders-2", func(p *decide.Probe) { p.Reach, p.Met = decide.Refused, false }, false},
		"a voter's pod answered before":          {"orders-2", func(p *decide.Probe) { p.Reach = decide.TimedOut }, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			w.store.UID = "ours"
			w.create("orders-4")
			w.cluster.Vanish("orders-1")
			op := w.ops[0]
			for range 500 {
				op.pass = decide.Pass{}
				w.cluster.Settle()
				op.observe()
				if m := op.seen.Members[tc.who]; w.rec().Phase == decide.PhaseFencing {
					m.Probe.Status = new(*m.Probe.Status)
					tc.says(&m.Probe)
					op.seen.Members[tc.who] = m
				}
				op.decide()
				for _, a := range op.plan.Actions {
					if f, ok := a.(decide.FenceMembers); ok {
						if asked := slices.Contains(f.Members, tc.who); asked != tc.asked || !slices.Contains(f.Members, "orders-3") {
							t.Errorf("%v are fenced", f.Members)
						}
						return
					}
				}
				if err := op.act(-1); err != nil {
					t.Fatal(err)
				}
			}
			t.Fatalf("nobody is fenced\n%s", w.tail())
		})
	}
}

// TestAVoterThatIsLateIsFencedOnceItAnswers checks this also for an operator that has never heard of the voter.
func TestAVoterThatIsLateIsFencedOnceItAnswers(t *testing.T) {
	w := started(t, 3, 1)
	w.cluster.Vanish("orders-1")
	w.until("Fencing", func() bool { return w.rec().Phase == decide.PhaseFencing }, func() {
		if w.ops[0].plan.State == decide.Suspecting {
			w.ops[0].mute = "orders-2"
		}
	})
	w.cluster.Crash("orders-2")
	w.ops[0].die()
	w.untilState(decide.Blocked)
	w.kubelet()
	w.cluster.Vanish("orders-1")
	w.run(time.Second)
	if w.cluster.Writable() == "" {
		t.Fatalf("a second later %v: %s\n%s", w.ops[0].plan.State, w.ops[0].plan.Message, w.tail())
	}
	w.write()
}

// TestVolumesOfAnEarlierStore checks that a store created again under its name finds its data once every member answers.
func TestVolumesOfAnEarlierStore(t *testing.T) {
	w := started(t, 3, 1)
	acked := w.cluster.Acknowledged()
	for name := range w.pods {
		w.remove(name, "")
	}
	w.record, w.version, w.holder = "", 0, ""
	w.store.UID, w.store.Status = "next", v1alpha1.ReplicatedStoreStatus{}
	w.ops[0].die()
	w.untilState(decide.Stable)
	r := w.rec()
	if r.Kind != v1alpha1.KindBootstrap || r.Reason != "TakenOver" || r.WritesLost != v1alpha1.LostNone {
		t.Fatalf("%+v", r)
	}
	w.write()
	if w.cluster.Acknowledged() <= acked {
		t.Fatal("another log")
	}
	if n := w.store.Status.Counters; n.Failovers != 0 || n.Lossy != 0 {
		t.Fatalf("counted as a failover: %+v", n)
	}
}

// TestVolumesOfAnEarlierStoreInPart: two of three volumes were deleted. The store must not go on without a person's word.
func TestVolumesOfAnEarlierStoreInPart(t *testing.T) {
	w := started(t, 3, 1)
	for name := range w.pods {
		w.remove(name, "")
	}
	for _, name := range []string{"orders-1", "orders-2"} {
		w.deleteClaim(name, w.claims[name].UID)
	}
	w.record, w.version, w.holder = "", 0, ""
	w.store.UID, w.store.Status = "next", v1alpha1.ReplicatedStoreStatus{}
	w.ops[0].die()
	w.run(5 * time.Second)
	c := w.condition(v1alpha1.ConditionFailoverBlocked)
	if c.Status != "True" || !strings.Contains(c.Message, "delete the claims whose data is no longer wanted") {
		t.Fatalf("%s %s: %s", c.Status, c.Reason, c.Message)
	}
}

// TestPodsOfNobody checks that pods left behind by a store that was deleted without its children are deleted and made again.
func TestPodsOfNobody(t *testing.T) {
	w := started(t, 3, 1)
	op := w.ops[0]
	op.observe()
	m := op.seen.Members["orders-3"]
	p := *m.Pod
	p.Orphaned, p.Deleting, p.IP = true, true, ""
	m.Pod, m.Probe = &p, decide.Probe{}
	op.seen.Members["orders-3"] = m
	op.decide()
	for _, a := range op.plan.Actions {
		if d, ok := a.(decide.DeletePod); ok && d.UID == p.UID {
			return
		}
	}
	t.Fatalf("%v: %v", op.plan.State, op.plan.Actions)
}
