package role

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// diskPatience is how long a write or fsync may take before the disk counts as hung: the leader then sends no heartbeats, so
// that its followers do not speak for it, and every member says so. What is long is written in pieces, and each of them counts for itself.
const diskPatience = 3 * time.Second

// A disk that gets on is slow and does not hang, but for so long only: whoever waits for what it does not finish gives it up in the end. A
// member that waits in the role's turn answers nobody meanwhile; one that prepares for what it took seals and acknowledges nothing.
const (
	turnExcused = 10 * time.Second
	diskExcused = 30 * time.Second
)

// idleSince is since when nothing has got on of what began at began: a write to the log's disk that ended later counts, for so long.
func (m *Member) idleSince(began int64, excused time.Duration) time.Duration {
	return time.Duration(max(began, min(m.wroteAt.Load(), began+int64(excused))))
}

// Hung is for how long the disk has not finished what it was asked to: an fsync of the log, or whatever the role goroutine or
// the disk probe waits for. Called from anywhere.
func (m *Member) Hung() time.Duration { return max(m.Stuck(), m.unfinished()) }

// unfinished is for how long an fsync of the log, what is prepared for it, or the disk probe, has not come back; 0: none is under way. Called
// from anywhere.
func (m *Member) unfinished() (d time.Duration) {
	now := m.opt.Now().Sub(m.start)
	for _, began := range []int64{m.syncBegan.Load(), m.probeBegan.Load()} {
		if began != 0 {
			d = max(d, now-m.idleSince(began, diskExcused))
		}
	}
	if began := m.prepares.first.Load(); began != 0 {
		d = max(d, now-m.idleSince(began, turnExcused))
	}
	return d
}

// prepare has log do ahead what an Append of size bytes would wait for the disk for. Called from anywhere but the role's turn.
func (m *Member) prepare(log *wal.Log, size int) {
	defer m.prepares.begin(m.stopwatch())()
	log.Prepare(size)
}

// prepares are those under way: one, and what an earlier leadership or following has left.
type prepares struct {
	mu    sync.Mutex
	began []int64
	first atomic.Int64 // the least of them; 0: there is none
}

func (p *prepares) begin(at int64) (end func()) {
	change := func(f func()) {
		p.mu.Lock()
		defer p.mu.Unlock()
		f()
		p.first.Store(0)
		if len(p.began) > 0 {
			p.first.Store(slices.Min(p.began))
		}
	}
	change(func() { p.began = append(p.began, at) })
	return func() {
		change(func() { i := slices.Index(p.began, at); p.began = slices.Delete(p.began, i, i+1) })
	}
}

// ProbeBegan and ProbeEnded tell of a write that is made only to see whether the disk works. Called from anywhere.
func (m *Member) ProbeBegan() { m.probeBegan.CompareAndSwap(0, m.stopwatch()) }
func (m *Member) ProbeEnded() { m.probeBegan.Store(0) }

// stopwatch is now, in nanoseconds since the start, and never 0.
func (m *Member) stopwatch() int64 { return max(1, int64(m.opt.Now().Sub(m.start))) }

// trouble is what needs a person now; a disk that hangs comes first. It is told in steps of ten seconds: it is compared.
func (m *Member) trouble() problem {
	d := m.Hung()
	if d < diskPatience {
		return cmp.Or(m.damageProblem(), m.problem, m.outdatedProblem())
	}
	return problem{wire.ProblemDiskStuck, m.hungFor(d)}
}

// hungFor words that nothing has moved for d.
func (m *Member) hungFor(d time.Duration) string {
	text := "its disk has not finished a write for more than %v: look at the machine and the storage behind the volume; it goes on by itself " +
		"once that works"
	if m.unfinished() < diskPatience {
		text = "nothing has moved in it for more than %v: its disk holds it up, or its processor or memory limit, or its machine has too much " +
			"to do; it goes on by itself"
	}
	return fmt.Sprintf(text, max(diskPatience, d.Truncate(10*time.Second)))
}

// HeldUp is what trouble would say while the role goroutine itself waits for the disk, and so tells nobody anything; nil when it does
// not. Called from anywhere.
func (m *Member) HeldUp() error {
	d := m.Stuck()
	if d < diskPatience {
		return nil
	}
	return errors.New(m.hungFor(d))
}
