package role

import (
	"context"
	"errors"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/snapshot"
	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

const (
	// scrubEvery is how often the segments that were closed since are verified on disk.
	scrubEvery = time.Hour
	// scrubRound is after how many times that the whole log is.
	scrubRound = 24
	// scrubRate bounds what that reads, in bytes per second.
	scrubRate = 8 << 20
)

// logDamage is what was found bad on disk in a segment of the log; the zero value is none.
type logDamage struct {
	log   *wal.Log
	first replication.Position // where the segment begins
	text  string
}

// noteDamage notes damage in the segment of l that holds p; role goroutine. What is applied needs no log any more: once the
// state machine has all of the segment on its own disk, pruneBound lets it go, and followers that lack it are seeded instead of
// being told of a log that cannot be read.
func (m *Member) noteDamage(l *wal.Log, p replication.Position, err error) {
	s, found := segmentOf(l, p)
	if !found {
		return
	}
	m.dropHolds(l, s.Last)
	if m.logDamage.log == l && m.logDamage.first >= s.First {
		return
	}
	m.logDamage = logDamage{l, s.First, err.Error()}
	m.damages.Add(1)
	m.opt.Log.Error(err, "the log is damaged")
}

// dropHolds lets go of what is held of l for followers, where that cannot be read up to upTo. It comes again for the same damage: a
// follower may have been seeded meanwhile with what ends before it.
func (m *Member) dropHolds(l *wal.Log, upTo replication.Position) {
	if m.leader == nil || l != m.Contents().Log {
		return
	}
	for name, o := range m.leader.seeds {
		if o.release != nil && o.from <= upTo {
			o.letGo()
			if o.over {
				delete(m.leader.seeds, name)
			}
		}
	}
}

// noteUnreadable notes that l gave no stream what begins at p; role goroutine. It counts for as long as l is in force, whatever a later
// read may give: once p is pruned it changes nothing any more.
func (m *Member) noteUnreadable(l *wal.Log, p replication.Position) {
	if l == m.Contents().Log && uint64(p) > m.unreadable.Load() {
		m.unreadable.Store(uint64(p))
	}
}

// readableAfter tells whether the log in force can be expected to give what follows after p. Called from anywhere.
func (m *Member) readableAfter(p replication.Position) bool {
	return p >= replication.Position(m.unreadable.Load())
}

// pastDamage tells whether a snapshot of this member's state helps a follower that lacks what cannot be read; role goroutine.
func (m *Member) pastDamage() bool { return m.readableAfter(m.Contents().State.Applied().Position) }

// damage is what is bad in the log in force, and not pruned yet, and where the segment ends; role goroutine.
func (m *Member) damage() (d logDamage, upTo replication.Position) {
	if l := m.Contents().Log; m.logDamage.log == l {
		if s, found := segmentOf(l, m.logDamage.first); found {
			return m.logDamage, s.Last
		}
	}
	return d, 0
}

// Damages counts the damaged segments that were found since the process began. Called from anywhere.
func (m *Member) Damages() uint64 { return m.damages.Load() }

// streamLog is the log as streams read it.
type streamLog struct {
	*wal.Log
	m *Member
}

func (l streamLog) Read(from replication.Position, maxBytes int, dst []replication.Record) ([]replication.Record, error) {
	recs, err := l.Log.Read(from, maxBytes, dst)
	if errors.Is(err, wal.ErrDamaged) || errors.Is(err, wal.ErrUnreadable) {
		l.m.works.Post(func() {
			l.m.noteUnreadable(l.Log, from)
			l.m.noteDamage(l.Log, from, err)
		})
	}
	return recs, err
}

// segmentOf is the segment that holds p; false when it was pruned.
func segmentOf(l *wal.Log, p replication.Position) (wal.SegmentInfo, bool) {
	for _, s := range l.Segments() {
		if s.First <= p && p <= s.Last {
			return s, true
		}
	}
	return wal.SegmentInfo{}, false
}

// scrubber verifies closed segments on disk, beside everything else.
type scrubber struct {
	m     *Member
	pace  func(bytes int) error
	log   *wal.Log
	after replication.Position // up to here log is verified
	began time.Time            // of the round
}

func (m *Member) scrub(ctx context.Context) {
	limit := snapshot.Limit(scrubRate)
	s := scrubber{m: m, pace: func(n int) error { return limit(ctx, n) }}
	t := time.NewTicker(m.opt.ScrubEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.pass()
		case <-ctx.Done():
			return
		}
	}
}

// pass verifies what was closed since the last one, or everything.
func (s *scrubber) pass() {
	now := time.Now()
	if l := s.m.Contents().Log; l != s.log || now.Sub(s.began) >= scrubRound*s.m.opt.ScrubEvery {
		s.log, s.after, s.began = l, 0, now
	}
	for {
		last, found, err := s.log.Scrub(s.after, s.pace)
		switch l := s.log; {
		case errors.Is(err, wal.ErrDamaged):
			s.m.works.Post(func() { s.m.noteDamage(l, last, err) })
		case err != nil, !found: // it is stopped or closed, or all is done
			return
		}
		s.after = last
	}
}

// damageProblem is what status says of damage in the log.
func (m *Member) damageProblem() problem {
	if d, _ := m.damage(); d.log != nil {
		return problem{wire.ProblemLogDamaged, d.text}
	}
	return problem{}
}
