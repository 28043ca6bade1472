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

// diskPatience is how long a write or fsync may take before the disk counts as hung. Every member with a hung disk
// reports it, and a leader stops sending heartbeats, so that its followers do not vouch for it. Long data is written in
// pieces, and each piece counts by itself.
const diskPatience = 3 * time.Second

// A disk that makes progress is slow, not hung, but only for so long: whoever waits for it gives up in the end. A member
// that waits in the role's turn answers nobody meanwhile (turnExcused). One that prepares the log for what it has taken
// neither seals nor acknowledges (turnExcused, too). Anything else on the disk has diskExcused.
const (
	turnExcused = 10 * time.Second
	diskExcused = 30 * time.Second
)

// idleSince returns since when an operation that began at began has made no progress. A later write to the log's disk
// that completed counts as progress, until excused has passed since began.
func (m *Member) idleSince(began int64, excused time.Duration) time.Duration {
	return time.Duration(max(began, min(m.wroteAt.Load(), began+int64(excused))))
}

// Hung returns for how long the disk has not finished what it was asked to do: an fsync of the log, or whatever the role
// goroutine or the disk probe waits for. It may be called by any goroutine.
func (m *Member) Hung() time.Duration { return max(m.Stuck(), m.unfinished()) }

// unfinished returns for how long an fsync of the log, its preparation, or the disk probe has been outstanding without
// progress; 0 if none is. It may be called by any goroutine.
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

// prepare makes log do ahead of time what an Append of size bytes would wait for the disk for. It may be called by any
// goroutine that does not hold the turn.
func (m *Member) prepare(log *wal.Log, size int) {
	defer m.prepares.begin(m.stopwatch())()
	log.Prepare(size)
}

// prepares tracks the preparations under way: normally one, plus any left over from an earlier leadership or following.
type prepares struct {
	mu    sync.Mutex
	began []int64
	first atomic.Int64 // the earliest of began; 0 if there is none
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

// ProbeBegan and ProbeEnded bracket a write that only checks whether the disk works. They may be called by any goroutine.
func (m *Member) ProbeBegan() { m.probeBegan.CompareAndSwap(0, m.stopwatch()) }
func (m *Member) ProbeEnded() { m.probeBegan.Store(0) }

// stopwatch returns the time since start, in nanoseconds. It is never 0.
func (m *Member) stopwatch() int64 { return max(1, int64(m.opt.Now().Sub(m.start))) }

// trouble returns what currently needs a person; a hung disk comes first. Its text changes in steps of ten seconds only,
// because it is part of the digest.
func (m *Member) trouble() problem {
	d := m.Hung()
	if d < diskPatience {
		return cmp.Or(m.damageProblem(), m.problem, m.outdatedProblem())
	}
	return problem{wire.ProblemDiskStuck, m.hungFor(d)}
}

// hungFor describes that nothing has moved for d.
func (m *Member) hungFor(d time.Duration) string {
	text := "its disk has not finished a write for more than %v: check the machine and the storage behind the volume; the member recovers by itself " +
		"once they work"
	if m.unfinished() < diskPatience {
		text = "it has made no progress for more than %v: its disk, its CPU or memory limit, or an overloaded machine holds it up; " +
			"it recovers by itself"
	}
	return fmt.Sprintf(text, max(diskPatience, d.Truncate(10*time.Second)))
}

// HeldUp returns what trouble would report while the role goroutine itself waits for the disk and so cannot report it;
// nil otherwise. It may be called by any goroutine.
func (m *Member) HeldUp() error {
	d := m.Stuck()
	if d < diskPatience {
		return nil
	}
	return errors.New(m.hungFor(d))
}
