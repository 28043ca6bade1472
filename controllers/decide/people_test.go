package decide_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
)

// TestWritesGoOnWhateverPeopleAskFor: people fence, reseed, scale, update, hibernate and ask for leaders at random, while
// members crash and the network is cut. In the end everything is healed except for one pod that stays fenced, and the store
// takes writes.
func TestWritesGoOnWhateverPeopleAskFor(t *testing.T) {
	for _, seed := range []uint64{2, 5, 15, 31, 84, 101, 145} { // each of these found a store that waited forever next to a fenced pod
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			p := people{rand: r, size: 2 + r.IntN(3), k: 1}
			if p.size > 2 && r.IntN(3) == 0 {
				p.k = 2
			}
			if r.IntN(6) == 0 {
				p.k = 0
			}
			var changes []func(*v1alpha1.ReplicatedStoreSpec)
			if r.IntN(4) == 0 {
				changes = append(changes, preferred)
			}
			p.world = started(t, p.size, p.k, changes...)
			for range 12 {
				p.act()
			}
			fenced := p.heal()
			before := p.cluster.Acknowledged()
			p.run(30*time.Second, func() { p.cluster.Write(p.cluster.Writable()) })
			if p.cluster.Acknowledged() == before {
				t.Errorf("seed %d: size %d, k %d, fenced %q; %v: %s\nrecord: %s\n%v\n%s", seed, p.size, p.k, fenced, p.ops[0].plan.State, p.ops[0].plan.Message,
					p.record, p.store.Status.Conditions, p.tail())
			}
		})
	}
}

// people do to a world what they may do.
type people struct {
	*world
	rand *rand.Rand
	size int
	k    int32
}

func (p *people) pick() string {
	names := slices.Sorted(maps.Keys(p.pods))
	if len(names) == 0 {
		return "orders-1"
	}
	return names[p.rand.IntN(len(names))]
}

// act does one thing, and lets some time pass.
func (p *people) act() {
	r, n := p.rand, p.pick()
	pod := p.pods[n]
	what := r.IntN(12)
	p.logf("%d to %s", what, n)
	switch what {
	case 0:
		p.cluster.Crash(n)
		if r.IntN(2) == 0 {
			p.kubelet()
		}
	case 1:
		p.remove(n, "")
	case 2:
		if m := p.pick(); m != n {
			p.cluster.Cut(n, m)
		}
	case 3:
		p.cluster.Cut(n, fake.Operator+"a")
	case 4:
		p.cluster.HealAll()
		p.kubelet()
	case 5:
		if pod != nil {
			pod.Fenced = !pod.Fenced
		}
	case 6:
		if pod != nil {
			pod.Reseed = true
		}
	case 7:
		p.store.Annotations[v1alpha1.AnnotationFailover] = n
	case 8:
		p.store.Spec.Hibernated = !p.store.Spec.Hibernated
	case 9:
		p.size = max(int(p.k)+1, 2+r.IntN(3))
		p.store.Spec.Replicas = new(int32(p.size))
	case 10:
		p.k = int32(r.IntN(p.size))
		p.store.Spec.Replication.Synchronous.Number = new(p.k)
	case 11:
		p.hash = fmt.Sprint("v", r.IntN(4))
	}
	if r.IntN(10) == 0 {
		p.ops[0].die()
	}
	p.run(time.Duration(r.IntN(6000)) * time.Millisecond)
	if r.IntN(2) == 0 {
		p.cluster.Write(p.cluster.Writable())
	}
}

// heal mends everything except the fence of one pod, whose name it returns.
func (p *people) heal() (fenced string) {
	p.logf("heal")
	p.cluster.HealAll()
	p.store.Spec.Hibernated = false
	for n, pod := range p.pods {
		if pod.Fenced && (fenced == "" || n < fenced) {
			fenced = n
		}
	}
	for n, pod := range p.pods {
		pod.Fenced = n == fenced
	}
	p.run(4*time.Minute, p.kubelet)
	return fenced
}
