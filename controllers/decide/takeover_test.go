package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
	"github.com/replicatedstore/replicatedstore/replication"
)

// remade deletes a store, keeping its volumes, and creates it again under the same name.
func remade(w *world, replicas int) {
	for name := range w.pods {
		w.remove(name, "")
	}
	lose(w)
	w.store.UID, w.store.Status = "next", v1alpha1.ReplicatedStoreStatus{}
	w.store.Spec.Replicas = new(int32(replicas))
	w.ops[0].die()
}

// blocked runs for a while, and checks that status says why nothing goes on.
func (w *world) blocked(says string) {
	w.t.Helper()
	w.run(10 * time.Second)
	if c := w.condition(v1alpha1.ConditionFailoverBlocked); c.Status != "True" || !strings.Contains(c.Message, says) || w.record != "" {
		w.t.Fatalf("%s %s: %s", c.Status, c.Reason, c.Message)
	}
}

// whole waits until the store is in order, has lost nothing, and has as many members as it is asked for.
func (w *world) whole(lost string) {
	w.t.Helper()
	w.until("it leads", func() bool {
		return w.ops[0].plan.State == decide.Stable && len(w.pods) == int(*w.store.Spec.Replicas)
	})
	if r := w.rec(); r.WritesLost != lost {
		w.t.Fatalf("%+v", r)
	}
	w.write()
}

// TestMoreMembersThanAnEarlierStoreLeft: nobody knows whether the others held anything. No empty members are made: they
// would be in the way of a person who says that there were no others.
func TestMoreMembersThanAnEarlierStoreLeft(t *testing.T) {
	w := started(t, 3, 1)
	remade(w, 5)
	w.blocked("set spec.replicas to the number that store had")
	if len(w.pods) != 3 || len(w.claims) != 3 {
		t.Fatalf("%s, %d claims", w.podNames(), len(w.claims))
	}
	w.store.Spec.Replicas = new(int32(3))
	w.whole(v1alpha1.LostNone)
	w.store.Spec.Replicas = new(int32(5))
	w.whole(v1alpha1.LostNone)
}

// TestVolumesOfAnEarlierStoreInPartAndLossAllowed: a person's word is enough, and the report says what it may cost.
func TestVolumesOfAnEarlierStoreInPartAndLossAllowed(t *testing.T) {
	w := started(t, 3, 1)
	for _, name := range []string{"orders-1", "orders-2"} {
		w.remove(name, "")
		w.deleteClaim(name, w.claims[name].UID)
	}
	remade(w, 3)
	w.blocked("or delete the claims whose data is no longer wanted")
	if w.podNames() != "orders-3" {
		t.Fatal(w.podNames())
	}
	w.store.Spec.Failover.DataLoss = v1alpha1.DataLossAllow
	w.whole(v1alpha1.LostUnknown)
}

// TestAnEarlierStoreWasSeedingAMember: an empty member may be one that lost everything. What the message advises for a
// member that never held anything ends the block.
func TestAnEarlierStoreWasSeedingAMember(t *testing.T) {
	w := started(t, 3, 1)
	w.remove("orders-3", "")
	w.cluster.Wipe("orders-3")
	remade(w, 3)
	w.blocked("lower spec.replicas, and delete its claim and then its pod")
	w.store.Spec.Replicas = new(int32(2))
	w.deleteClaim("orders-3", w.claims["orders-3"].UID)
	w.remove("orders-3", "")
	w.whole(v1alpha1.LostNone)
	w.store.Spec.Replicas = new(int32(3))
	w.whole(v1alpha1.LostNone)
}

// TestMoreMembersWhileTheRecordIsLost: new members are made once one of the existing members leads. A leader without
// synchronous followers has stopped meanwhile, because it could not renew its Lease, and leads another epoch.
func TestMoreMembersWhileTheRecordIsLost(t *testing.T) {
	for _, synchronous := range []int32{0, 1} {
		w := started(t, 3, synchronous)
		w.cluster.Cut("orders-1", fake.Operator+"a")
		lose(w)
		w.store.Spec.Replicas = new(int32(5))
		w.run(10 * time.Second)
		if len(w.pods) != 3 {
			t.Fatalf("number %d: %s", synchronous, w.podNames())
		}
		w.cluster.HealAll()
		w.whole(v1alpha1.LostNone)
		if r := w.rec(); r.Epoch != replication.Epoch(2-synchronous) || r.Leader.Member != "orders-1" {
			t.Fatalf("number %d: the living leader is deposed: %+v", synchronous, r)
		}
	}
}

// TestWhoThereWasIsToldUntilThereIsARecord: until then only status says how many members there have to be.
func TestWhoThereWasIsToldUntilThereIsARecord(t *testing.T) {
	w := started(t, 3, 1)
	w.cluster.Vanish("orders-1")
	lose(w)
	w.remove("orders-3", "")
	w.deleteClaim("orders-3", w.claims["orders-3"].UID)
	op := w.ops[0]
	for range 3 { // and orders-3 cannot be made
		op.observe()
		op.decide()
		op.publish()
	}
	if n := len(w.store.Status.Members); n != 3 || op.plan.Risky() {
		t.Fatalf("%d members; %v: %v", n, op.plan.State, op.plan.Actions)
	}
}

// TestABeginningThatWasInterruptedGoesOn: the existing members hold nothing.
func TestABeginningThatWasInterruptedGoesOn(t *testing.T) {
	w := newWorld(t, 3, 1)
	w.create("orders-2")
	w.cluster.Cut("orders-2", fake.Operator+"a")
	w.run(2 * time.Second)
	if p := w.ops[0].plan; len(w.pods) != 1 || !strings.Contains(p.Message, "waiting for orders-2 to answer") {
		t.Fatalf("%s; %v: %s", w.podNames(), p.State, p.Message)
	}
	w.cluster.HealAll()
	w.whole(v1alpha1.LostNone)
}

// late makes the named members answer that much later than the others.
func (w *world) late(by time.Duration, members ...string) {
	w.t.Helper()
	for _, m := range members {
		w.cluster.Cut(fake.Operator+"a", m)
	}
	w.run(by)
	w.cluster.HealAll()
}

// behind makes orders-3 miss most of what is acknowledged, and returns how much of it there is.
func (w *world) behind() int {
	w.t.Helper()
	for _, m := range []string{"orders-1", "orders-2"} {
		w.cluster.Cut(m, "orders-3")
	}
	w.run(30 * time.Second)
	for range 50 {
		w.write()
	}
	return w.cluster.Acknowledged()
}

// TestWhoAnswersFirstDoesNotLeadBeforeTheOthers: volumes are attached one after another, and that of orders-3, which is
// behind, comes first. Even if loss is allowed the others are waited for, up to a bound: what they hold is not lost.
func TestWhoAnswersFirstDoesNotLeadBeforeTheOthers(t *testing.T) {
	for name, tc := range map[string]struct {
		lost func(*world) // loses the record
		by   time.Duration
		back bool
	}{
		"a store that is made again":               {func(w *world) { remade(w, 3) }, time.Minute, true},
		"a record that is lost":                    {lose, time.Minute, true},
		"a store that is made again, late images":  {func(w *world) { remade(w, 3); w.late(10*time.Minute, "orders-1", "orders-2", "orders-3") }, time.Minute, true},
		"a store that is made again without them":  {func(w *world) { remade(w, 3) }, 3 * time.Minute, false},
		"a record that is lost together with them": {lose, 3 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1, allow)
			acked := w.behind()
			w.cluster.Vanish("orders-1")
			w.cluster.Vanish("orders-2")
			tc.lost(w)
			w.cluster.HealAll()
			w.lossy = true
			w.late(tc.by, "orders-1", "orders-2")
			if tc.back != (w.record == "") {
				t.Fatalf("%s after orders-3 answered: %v: %s; record %s", tc.by, w.ops[0].plan.State, w.ops[0].plan.Message, w.record)
			}
			lost := v1alpha1.LostNone
			if !tc.back {
				lost = v1alpha1.LostUnknown
			}
			w.until("it leads", func() bool { return w.ops[0].plan.State == decide.Stable && len(w.pods) == 3 }, w.kubelet)
			r := w.rec()
			if missing := len(w.cluster.Missing(r.Leader.Member)); r.WritesLost != lost || (missing == 0) != tc.back || acked < 50 {
				t.Fatalf("%s leads epoch %d without %d of %d acknowledged writes, and %s are told", r.Leader.Member, r.Epoch, missing, acked, r.WritesLost)
			}
		})
	}
}

// TestWhomALostRecordWaitsForIsTold checks that members are named, and that the report says how to go on without them.
func TestWhomALostRecordWaitsForIsTold(t *testing.T) {
	w := started(t, 3, 1, allow)
	w.cluster.Vanish("orders-1")
	w.cluster.Vanish("orders-2")
	lose(w)
	w.blocked("waiting for orders-1, orders-2")
	w.blocked("dataLoss is Allow")
}
