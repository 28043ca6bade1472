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
	// scrubEvery is how often newly closed segments are verified on disk.
	scrubEvery = time.Hour
	// scrubRound is after how many such passes the whole log is verified again.
	scrubRound = 24
	// scrubRate bounds the reads for that, in bytes per second.
	scrubRate = 8 << 20
)

// logDamage describes a log segment that was found damaged on disk; the zero value is none.
type logDamage struct {
	log   *wal.Log
	first replication.Position // where the segment begins
	text  string
}

// noteDamage records that the segment of l that holds p is damaged; role goroutine. Applied entries no longer need the
// log: once the state machine has the whole segment on disk, pruneBound lets the segment go, and followers that lack it
// are seeded instead of being offered a log that cannot be read.
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

// dropHolds releases what is held of l for followers, if l cannot be read up to upTo. It runs again for damage that is
// already known: a follower may have been seeded meanwhile with a snapshot that ends before the damage.
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

// noteUnreadable notes that a stream could not read l at p; role goroutine. That counts as long as l is in force,
// whatever later reads return; once p is pruned it makes no difference any more.
func (m *Member) noteUnreadable(l *wal.Log, p replication.Position) {
	if l == m.Contents().Log && uint64(p) > m.unreadable.Load() {
		m.unreadable.Store(uint64(p))
	}
}

// readableAfter reports whether the log in force can be expected to be readable after p. It may be called by any
// goroutine.
func (m *Member) readableAfter(p replication.Position) bool {
	return p >= replication.Position(m.unreadable.Load())
}

// pastDamage reports whether a snapshot of this member's state reaches past the unreadable part of the log, and so helps
// a follower that lacks it; role goroutine.
func (m *Member) pastDamage() bool { return m.readableAfter(m.Contents().State.Applied().Position) }

// damage returns the damage in the log in force that is not pruned yet, and where its segment ends; role goroutine.
func (m *Member) damage() (d logDamage, upTo replication.Position) {
	if l := m.Contents().Log; m.logDamage.log == l {
		if s, found := segmentOf(l, m.logDamage.first); found {
			return m.logDamage, s.Last
		}
	}
	return d, 0
}

// Damages returns how many damaged segments were found since the process began. It may be called by any goroutine.
func (m *Member) Damages() uint64 { return m.damages.Load() }

// streamLog is the log as streams read it: it reports damage to the member.
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

// segmentOf returns the segment that holds p; false if it was pruned.
func segmentOf(l *wal.Log, p replication.Position) (wal.SegmentInfo, bool) {
	for _, s := range l.Segments() {
		if s.First <= p && p <= s.Last {
			return s, true
		}
	}
	return wal.SegmentInfo{}, false
}

// scrubber verifies closed segments on disk in the background.
type scrubber struct {
	m     *Member
	pace  func(bytes int) error
	log   *wal.Log
	after replication.Position // log is verified up to here
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

// pass verifies the segments closed since the last pass, or all of them when a new round is due.
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
		case err != nil, !found: // stopped, closed, or all done
			return
		}
		s.after = last
	}
}

// damageProblem returns what status reports about damage in the log.
func (m *Member) damageProblem() problem {
	if d, _ := m.damage(); d.log != nil {
		return problem{wire.ProblemLogDamaged, d.text}
	}
	return problem{}
}
