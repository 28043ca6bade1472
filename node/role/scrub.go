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
	log  *wal.Log
	upTo replication.Position // where the segment ends
	text string
}

// noteDamage notes damage in the segment of l that ends at upTo; role goroutine. What is applied needs no log any more: once the
// state machine has all of the segment on its own disk, pruneBound lets it go, and followers that lack it are seeded instead of
// being told of a log that cannot be read.
func (m *Member) noteDamage(l *wal.Log, upTo replication.Position, err error) {
	if m.logDamage.log == l && m.logDamage.upTo >= upTo || upTo < l.First() {
		return
	}
	m.logDamage = logDamage{l, upTo, err.Error()}
	m.damages.Add(1)
	m.opt.Log.Error(err, "the log is damaged")
	if m.leader == nil || l != m.Contents().Log {
		return
	}
	for name, o := range m.leader.seeds { // what is held for them cannot be read
		if o.release != nil && o.from <= upTo {
			o.letGo()
			if o.over {
				delete(m.leader.seeds, name)
			}
		}
	}
}

// damage is what is bad in the log in force, and not pruned yet; role goroutine.
func (m *Member) damage() (d logDamage) {
	if l := m.Contents().Log; m.logDamage.log == l && l.First() <= m.logDamage.upTo {
		return m.logDamage
	}
	return d
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
		if last, found := segmentEnd(l.Log, from); found {
			l.m.works.Post(func() { l.m.noteDamage(l.Log, last, err) })
		}
	}
	return recs, err
}

// segmentEnd is the last position of the segment that holds p; false when it was pruned.
func segmentEnd(l *wal.Log, p replication.Position) (last replication.Position, found bool) {
	for _, s := range l.Segments() {
		if s.First <= p && p <= s.Last {
			return s.Last, true
		}
	}
	return 0, false
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
	if d := m.damage(); d.log != nil {
		return problem{wire.ProblemLogDamaged, d.text}
	}
	return problem{}
}
