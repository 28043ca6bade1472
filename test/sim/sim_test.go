package sim

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "run this one seed")
	simSeeds = flag.Int("sim.seeds", 150, "how many seeds to run")
	simFirst = flag.Uint64("sim.first", 1, "the first of them")
	simTime  = flag.Duration("sim.budget", 0, "begin no seed after this long; 0: no limit")
)

// TestSimulation plays many worlds; see the package comment. For a failing seed it prints the command that repeats it.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		w, err := play(*simSeed)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("seed %d: %s\n%s", *simSeed, w.sums(), w.loop.Tail())
		return
	}
	// Worlds are small and short-lived. With the default GC setting, garbage collection took a third of the time.
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	var total sums
	var mu sync.Mutex
	var next atomic.Uint64
	var failed atomic.Bool
	var workers sync.WaitGroup
	played, began := 0, time.Now()
	shown := began
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for !failed.Load() {
				n := next.Add(1) - 1
				if n >= uint64(*simSeeds) || *simTime > 0 && time.Since(began) > *simTime {
					return
				}
				w, err := play(*simFirst + n)
				mu.Lock()
				if err != nil && !failed.Swap(true) {
					t.Error(err)
				}
				total.add(w.sums())
				played++
				if now := time.Now(); now.Sub(shown) >= 10*time.Second {
					shown = now
					t.Log(progress(played, *simSeeds, now.Sub(began)))
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	if !failed.Load() {
		t.Logf("%d of %d seeds, %.0f a minute: %v", played, *simSeeds, float64(played)/time.Since(began).Minutes(), total)
		total.reaches(t, played)
	}
}

// progress formats the progress of a long run as one line.
func progress(played, of int, took time.Duration) string {
	each := took / time.Duration(played)
	left := (each * time.Duration(of-played)).Round(time.Second)
	return fmt.Sprintf("%d of %d seeds, %.0f a minute, %v left", played, of, float64(played)/took.Minutes(), left)
}

// play runs one seed.
func play(seed uint64) (w *World, err error) {
	w = newWorld(seed)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("seed %d: %v\nreproduce: make sim SEED=%d\nlast events:\n%s", seed, p, seed, w.loop.Tail())
		}
	}()
	w.run()
	return w, nil
}

// sums are the totals of all worlds.
type sums struct {
	Events                                             uint64
	Acknowledged, Leaderships, Cuts, Seeds, Fetches    int
	Reads, FollowerReads, Lossy, Undecided, Incarnated int
	Full                                               int
	Steps                                              int
}

func (w *World) sums() sums {
	s := sums{
		Events: w.loop.Events(), Acknowledged: w.acks, Leaderships: w.leaderships, Cuts: w.cuts, Seeds: w.seeds, Fetches: w.fetches, Reads: w.reads,
		FollowerReads: w.looks, Full: w.fullActs, Undecided: w.undecided, Incarnated: w.incarnations,
	}
	if w.lossy {
		s.Lossy = 1
	}
	for _, o := range w.ops {
		s.Steps += o.Steps
	}
	return s
}

func (s *sums) add(o sums) {
	s.Events += o.Events
	s.Acknowledged += o.Acknowledged
	s.Leaderships += o.Leaderships
	s.Cuts += o.Cuts
	s.Seeds += o.Seeds
	s.Fetches += o.Fetches
	s.Reads += o.Reads
	s.FollowerReads += o.FollowerReads
	s.Full += o.Full
	s.Lossy += o.Lossy
	s.Undecided += o.Undecided
	s.Incarnated += o.Incarnated
	s.Steps += o.Steps
}

func (s sums) String() string {
	return fmt.Sprintf("%d events, %d record ends acknowledged, %d leaderships, %d logs cut, %d snapshots from leaders and %d from followers, %d reads of leaders, "+
		"%d of followers, %d directories, %d orders carried out on a full volume, %d operator steps; %d worlds with accepted loss, %d histories undecided",
		s.Events, s.Acknowledged, s.Leaderships, s.Cuts, s.Seeds, s.Fetches, s.Reads, s.FollowerReads, s.Incarnated, s.Full, s.Steps, s.Lossy, s.Undecided)
}

// reaches fails if the worlds no longer exercise what they are for.
func (s sums) reaches(t *testing.T, seeds int) {
	t.Helper()
	if seeds >= 100 && (s.Acknowledged < 60*seeds || s.Leaderships < 2*seeds || s.Cuts == 0 || s.Seeds == 0 || s.Reads < 50*seeds || s.FollowerReads == 0 || s.Full == 0) {
		t.Errorf("the simulation no longer reaches what it is for: %v", s)
	}
	if s.Undecided > seeds/100 {
		t.Errorf("%d histories were too hard to check", s.Undecided)
	}
}

// The same seed yields the same course of events.
func TestSimulationRepeats(t *testing.T) {
	a, errA := play(7)
	b, errB := play(7)
	if a.loop.Hash() != b.loop.Hash() || fmt.Sprint(errA) != fmt.Sprint(errB) {
		t.Fatalf("two runs of one seed differ: %d and %d events", a.loop.Events(), b.loop.Events())
	}
}
