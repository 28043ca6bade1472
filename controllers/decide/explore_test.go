package decide_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
)

var (
	exploreSeed  = flag.Uint64("explore.seed", 0, "run this one seed")
	exploreSeeds = flag.Int("explore.seeds", 300, "how many seeds to run")
)

// TestExplore drives two operators, whose looks and acts interleave at will and which die anywhere, over real Replicas that
// crash, lose disks and are cut off from each other and from the operators. After every step: one leader an epoch, nothing
// acknowledged twice with different content, and a stable leader that holds everything acknowledged. When the faults end,
// the store comes back.
//
// At most one disk is lost at a time, and not before the store has all its voters: k = 1 promises no more.
func TestExplore(t *testing.T) {
	if *exploreSeed != 0 {
		explore(t, *exploreSeed)
		return
	}
	var acked, led int
	for seed := range uint64(*exploreSeeds) {
		w := explore(t, seed+1)
		acked, led = acked+w.cluster.Acknowledged(), led+w.cluster.Leaderships()
	}
	t.Logf("%d seeds: %d acknowledged positions, %d leaderships", *exploreSeeds, acked, led)
	if *exploreSeeds >= 100 && (acked < 5**exploreSeeds || led < 2**exploreSeeds) {
		t.Fatal("the exploration no longer reaches what it is for")
	}
}

// explorer is one seeded schedule.
type explorer struct {
	*world
	rng  *rand.Rand
	seed uint64
}

func explore(t *testing.T, seed uint64) *world {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	replicas := 2 + rng.IntN(3)
	var change []func(*v1alpha1.ReplicatedStoreSpec)
	if rng.IntN(4) == 0 {
		change = append(change, preferred)
	}
	w := newWorld(t, replicas, int32(1+rng.IntN(min(2, replicas-1))), change...)
	w.ops = append(w.ops, newOperator(w, "b"))
	e := &explorer{w, rng, seed}
	defer func() {
		if p := recover(); p != nil {
			t.Fatalf("seed %d: %v\n%s", seed, p, w.tail())
		}
		if t.Failed() {
			t.Logf("reproduce: go test ./controllers/decide -run TestExplore -explore.seed=%d", seed)
		}
	}()
	for range 400 {
		e.step()
		w.check()
	}
	e.calm()
	return w
}

func (e *explorer) anybody() string {
	names := e.cluster.Names()
	if len(names) == 0 {
		return ""
	}
	return names[e.rng.IntN(len(names))]
}

func (e *explorer) host() string {
	if e.rng.IntN(3) == 0 {
		return fake.Operator + string('a'+rune(e.rng.IntN(2)))
	}
	return e.anybody()
}

func (e *explorer) step() {
	m := e.anybody()
	op := e.ops[e.rng.IntN(len(e.ops))]
	switch p := e.rng.IntN(1000); {
	case p < 12:
		e.logf("crash %s", m)
		e.cluster.Crash(m)
	case p < 17:
		e.logf("vanish %s", m)
		e.cluster.Vanish(m)
	case p < 22:
		e.evict(m)
	case p < 25:
		e.loseDisk(m)
	case p < 45:
		e.kubelet()
	case p < 60:
		a, b := e.host(), e.host()
		e.logf("cut %s from %s", a, b)
		e.cluster.Cut(a, b)
	case p < 80:
		e.cluster.HealAll()
	case p < 84:
		op.die()
		e.logf("operator %s dies", op.name)
	case p < 90:
		e.ask()
	case p < 130:
		e.cluster.Advance(time.Duration(e.rng.IntN(1500)) * time.Millisecond)
	case p < 150:
		e.renew()
	case p < 330:
		e.cluster.Advance(time.Duration(e.rng.IntN(40)) * time.Millisecond)
	case p < 430:
		e.cluster.Write(m)
	case p < 520:
		e.cluster.Sync(m)
	case p < 700:
		e.cluster.Ship(m)
	case p < 800: // a look, to be acted on later
		op.observe()
		op.decide()
	case p < 900: // act on it, perhaps only in part
		_ = op.act(e.rng.IntN(8) - 1)
	default:
		op.observe()
		op.decide()
		_ = op.act(e.rng.IntN(8) - 1)
		if !op.plan.Risky() {
			op.pass = decide.Pass{}
		}
	}
}

func (e *explorer) evict(m string) {
	if p := e.pods[m]; p != nil {
		e.logf("evict %s", m)
		e.remove(m, p.UID)
	}
}

// loseDisk re-creates a volume, if every other member runs and votes, so that this is the only failure.
func (e *explorer) loseDisk(m string) {
	if e.record == "" {
		return
	}
	r := e.rec()
	full := r.Phase == decide.PhaseStable && len(r.Rules) == 1 && r.Rules[0].K > 0 && len(r.Rules[0].Voters) == int(*e.store.Spec.Replicas)-1
	if !full || len(e.pods) < int(*e.store.Spec.Replicas) {
		return
	}
	e.logf("lose the disk of %s", m)
	e.cluster.Crash(m)
	e.cluster.Wipe(m)
	e.cluster.Start(m, m)
	// No second failure before the store has healed.
	e.quiet()
}

func (e *explorer) ask() {
	target := v1alpha1.FailoverToAny
	if e.rng.IntN(2) == 0 {
		target = e.anybody()
	}
	e.logf("ask for %s", target)
	e.store.Annotations[v1alpha1.AnnotationFailover] = target
}

// quiet runs without faults until the store is whole.
func (e *explorer) quiet() {
	e.t.Helper()
	e.cluster.HealAll()
	e.kubelet()
	for i := range e.ops {
		e.ops[i].die()
	}
	e.until(fmt.Sprintf("whole again (seed %d)", e.seed), e.whole, e.kubelet)
}

func (e *explorer) whole() bool {
	if e.record == "" {
		return false
	}
	r := e.rec()
	return e.ops[0].plan.State == decide.Stable && r.Phase == decide.PhaseStable && len(r.Rules) == 1 &&
		len(r.Rules[0].Voters) == int(*e.store.Spec.Replicas)-1 && r.Rules[0].K == int(*e.store.Spec.Replication.Synchronous.Number) &&
		len(e.pods) == int(*e.store.Spec.Replicas) && e.cluster.Writable() == r.Leader.Member
}

// calm ends all faults: the store must come back, with everything, and take writes.
func (e *explorer) calm() {
	e.t.Helper()
	e.quiet()
	e.until("a write is taken", func() bool { return e.cluster.Write(e.cluster.Writable()) }) // a hold may have to end
	e.run(time.Second)
	if n := e.labelledLeaders(); n != 1 {
		e.t.Fatalf("%d pods are labelled leader after the faults ended\n%s", n, e.tail())
	}
}
