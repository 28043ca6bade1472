package sim

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication"
)

// calm returns a whole store of three members, k = 1, in a world without faults of its own. It uses the first seed from seed on
// that draws such a world, and returns that seed.
func calm(t *testing.T, seed uint64) (*World, uint64) {
	t.Helper()
	for ; ; seed++ {
		w := newWorld(seed)
		if w.faults.hasty || w.net.Profile != Calm() || w.rule.K != 1 || *w.api.Store().Spec.Replicas != 3 {
			w.loop.Close()
			continue
		}
		t.Cleanup(w.loop.Close)
		if !w.loop.RunUntil(w.whole, healing) {
			t.Fatalf("seed %d: the store does not come up: %s", seed, w.state())
		}
		w.loop.Run(w.loop.Now() + time.Second)
		return w, seed
	}
}

func (w *World) elected() *Operator {
	for _, o := range w.ops {
		if o.Leads() {
			return o
		}
	}
	return nil
}

// TestHowLongWritesPause measures the time from a fault until a new leader takes writes, with nothing else going on. It does not
// include the time that clients need to find the new leader.
func TestHowLongWritesPause(t *testing.T) {
	alone := func(w *World, host, other string) { w.net.CutBoth(host, other) }
	everybodyElse := func(w *World, host string, cut func(*World, string, string)) {
		for _, o := range w.faults.everybody() {
			if o != host {
				cut(w, host, o)
			}
		}
	}
	for name, tc := range map[string]struct {
		strike func(w *World, host string)
		within time.Duration
	}{
		"its process is killed": {func(w *World, host string) { w.net.Host(host).Kill() }, 600 * time.Millisecond},
		"its pod is evicted":    {func(w *World, host string) { w.api.Evict(w.members[host].name) }, time.Second},
		"its machine loses power": {func(w *World, host string) {
			w.kubelets.LoseNode(w.kubelets.Node(w.members[host].name))
		}, 1750 * time.Millisecond},
		"it is cut off": {func(w *World, host string) { everybodyElse(w, host, alone) }, 1750 * time.Millisecond},
		"it hears nobody": {func(w *World, host string) {
			everybodyElse(w, host, func(w *World, host, o string) { w.net.Cut(o, host) })
		}, 2500 * time.Millisecond},
		"nobody hears it": {func(w *World, host string) {
			everybodyElse(w, host, func(w *World, host, o string) { w.net.Cut(host, o) })
		}, 1750 * time.Millisecond},
		"it is stopped": {func(w *World, host string) { w.members[host].os.Freeze() }, 1750 * time.Millisecond},
		"its machine loses power, with the elected operator": {func(w *World, host string) {
			w.kubelets.LoseNode(w.kubelets.Node(w.members[host].name))
			w.elected().Pause(time.Minute)
		}, 2500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			worst, seed := time.Duration(0), uint64(1)
			for range 10 {
				var w *World
				w, seed = calm(t, seed)
				rec := w.record()
				host := w.kubelets.Hosts()[rec.Leader.Member]
				began := w.loop.Now()
				tc.strike(w, host)
				if !w.loop.RunUntil(func() bool { return w.takesWrites(rec.Epoch) }, began+time.Minute) {
					t.Fatalf("seed %d: no new leader: %s\n%s", seed, w.state(), w.loop.Tail())
				}
				if took := w.loop.Now() - began; took > tc.within {
					t.Errorf("seed %d: it took %v, more than %v\n%s", seed, took, tc.within, w.loop.Tail())
					return
				} else {
					worst = max(worst, took)
				}
				seed++
			}
			t.Logf("at most %v", worst)
		})
	}
}

// takesWrites reports whether a leader of an epoch above e takes writes.
func (w *World) takesWrites(e replication.Epoch) bool {
	for _, p := range w.members {
		if p.m.Open() && p.m.Replica().Promises().Epoch > e {
			return true
		}
	}
	return false
}

// TestNoFailoverFor checks that faults that stop no writes cause no failover, however long they last.
func TestNoFailoverFor(t *testing.T) {
	for name, strike := range map[string]func(w *World, leader, follower string){
		"an API server that is gone":            func(w *World, _, _ string) { w.api.net.Host(APIHost).Process().Freeze() },
		"a follower that is stopped":            func(w *World, _, follower string) { w.members[follower].os.Freeze() },
		"a follower that is cut off":            func(w *World, leader, follower string) { w.net.CutBoth(leader, follower) },
		"a leader that no operator can reach":   func(w *World, leader, _ string) { w.hideFromOperators(leader) },
		"a follower that no operator can reach": func(w *World, _, follower string) { w.hideFromOperators(follower) },
	} {
		t.Run(name, func(t *testing.T) {
			seed := uint64(1)
			for range 5 {
				var w *World
				w, seed = calm(t, seed)
				rec := w.record()
				hosts := w.kubelets.Hosts()
				strike(w, hosts[rec.Leader.Member], hosts[rec.Rules[0].Voters[0].Member])
				acks := w.acks
				w.loop.Run(w.loop.Now() + 20*time.Second)
				if got := w.record(); got.Epoch != rec.Epoch || got.Phase != decide.PhaseStable {
					t.Fatalf("seed %d: epoch %d, %s\n%s", seed, got.Epoch, got.Phase, w.loop.Tail())
				}
				if w.acks == acks {
					t.Fatalf("seed %d: nothing was acknowledged meanwhile", seed)
				}
				seed++
			}
		})
	}
}

func (w *World) hideFromOperators(host string) {
	for _, o := range w.ops {
		w.net.CutBoth(host, o.Name())
	}
}
