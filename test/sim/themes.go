package sim

import (
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// theme is a family of worlds in which the ingredients of one kind of trouble coincide more often than by chance. Whatever can
// happen in them can happen in any other world, too.
type theme struct {
	name string
	// kinds are the faults that make up more than half of all faults.
	kinds []kind
	// hasty: see World.hasty. ambushes is the minimum of faults.ambushes.
	hasty    bool
	ambushes float64
	// draw changes the world and its store before anything else exists. It may be nil.
	draw func(*World, *v1alpha1.ReplicatedStoreSpec)
}

// themed is the share of worlds that have a theme.
const themed = 0.4

var themes = []theme{
	{ // members that answer but receive no orders: leaders and voters of earlier epochs that nobody has fenced
		name: "deaf members", kinds: []kind{{6, (*faults).maroon}, {2, (*faults).deafen}, {3, (*faults).askFailover}},
		draw: func(w *World, s *v1alpha1.ReplicatedStoreSpec) {
			*s.Replicas, *s.Replication.Synchronous.Number = int32(3+w.loop.Rand.IntN(2)), 1
			s.Failover.LeaseDurationSeconds = new(int32(3))
			w.troubled = 25 * time.Second
		},
	},
	{ // leaders that only clients reach
		name: "orphans", hasty: true, kinds: []kind{{6, (*faults).orphan}, {2, (*faults).split}, {1, (*faults).deafen}},
	},
	{ // orders arrive late, or twice, at processes that have just changed
		name: "repeated orders", ambushes: 0.5,
		kinds: []kind{{3, (*faults).killOperator}, {3, (*faults).pauseOperator}, {3, (*faults).askFailover}, {2, (*faults).kill}, {1, (*faults).breakElection}},
		draw:  func(w *World, _ *v1alpha1.ReplicatedStoreSpec) { w.net.Late, w.net.Twice = 0.9, 0.4 },
	},
	{ // leaders without voters replace each other, and return with data that the next leader lacks
		name:  "asynchronous",
		kinds: []kind{{3, (*faults).hide}, {3, (*faults).isolate}, {2, (*faults).losePower}, {1, (*faults).cutAPI}, {1, (*faults).orphan}, {2, (*faults).forbidLoss}},
		draw:  asynchronous,
	},
	{ // followers fall behind again and again, and seeds take long
		name:  "short logs",
		kinds: []kind{{3, (*faults).isolate}, {3, (*faults).kill}, {2, (*faults).cut}, {2, (*faults).losePower}, {1, (*faults).hang}},
		draw: func(w *World, _ *v1alpha1.ReplicatedStoreSpec) {
			w.retain, w.retainEvery, w.segment, w.pad = 4<<10, w.latency(100*time.Millisecond, 400*time.Millisecond), 8<<10, 800<<w.loop.Rand.IntN(3)
			w.net.StreamRate = 32 << 10 << w.loop.Rand.IntN(5)
		},
	},
	{ // partitions: followers on the wrong side hold data that the others never get
		name:  "halves",
		kinds: []kind{{6, (*faults).split}, {3, (*faults).askFailover}, {1, (*faults).kill}, {1, (*faults).losePower}},
		draw: func(_ *World, s *v1alpha1.ReplicatedStoreSpec) {
			*s.Replicas, *s.Replication.Synchronous.Number = 4, 2
			s.Replication.Synchronous.Durability = v1alpha1.DurabilityPreferred
		},
	},
	{ // the commit rule changes while followers lag, and the leader dies together with those that do not
		name: "changing rules", ambushes: 0.3,
		kinds: []kind{{8, (*faults).congest}, {5, (*faults).changeK}, {1, (*faults).rack}, {1, (*faults).scale}},
		draw: func(w *World, s *v1alpha1.ReplicatedStoreSpec) {
			*s.Replicas, *s.Replication.Synchronous.Number = int32(3+w.loop.Rand.IntN(2)), 1
		},
	},
}

// drawTheme gives a share of the worlds a theme.
func (w *World) drawTheme(s *v1alpha1.ReplicatedStore) {
	if !w.loop.Chance(themed) {
		return
	}
	w.theme = themes[w.loop.Rand.IntN(len(themes))]
	w.loop.Logf("theme: %s", w.theme.name)
	w.mixed, w.faults.patient = true, w.loop.Chance(0.8)
	if w.theme.draw != nil {
		w.theme.draw(w, &s.Spec)
	}
	w.rule.K = int(*s.Spec.Replication.Synchronous.Number)
}

func asynchronous(w *World, s *v1alpha1.ReplicatedStoreSpec) {
	*s.Replicas, *s.Replication.Synchronous.Number = int32(2+w.loop.Rand.IntN(2)), 0
	s.Replication.Synchronous.Durability = ""
	s.Failover.DataLoss, s.Failover.LeaseDurationSeconds = v1alpha1.DataLossAllow, new(int32(3))
	w.troubled *= 2
	w.net.StreamRate = 16 << 10 << w.loop.Rand.IntN(4)
}
