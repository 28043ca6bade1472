package role

import (
	"sync/atomic"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/peer"
)

// On a slow network or disk, a long record may take longer than a leader or a follower may be silent. As long as it makes
// progress, neither counts as silent.

// Arriving implements peer.Follower: a leader whose message is still arriving counts as heard. The acknowledgement sent
// in response names the same Append as the previous one, so it extends no grant.
func (s *Session) Arriving() {
	at := s.m.opt.Now()
	s.m.works.Post(func() {
		if s.m.session != s || !s.m.core.Matched() {
			return
		}
		if c := &s.m.contact; !c.deaf && at.After(c.heardAt) {
			c.heardAt = at
		}
		s.owe()
	})
}

// taking is a session that waits for the disk to take what has arrived. began, and toldAt, when progress was last
// reported, are in nanoseconds since the member's start.
type taking struct {
	s      *Session
	began  int64
	toldAt atomic.Int64
}

// prepare makes the log do ahead of time, without the role's turn, what taking recs would wait for the disk for. While
// the disk makes progress, but no longer than turnExcused, recs count as still arriving, because this goroutine cannot
// notice meanwhile whether the leader is alive.
func (s *Session) prepare(recs []replication.Record) {
	size := 0
	for i := range recs {
		size += recs[i].Size()
	}
	log := s.m.Contents().Log
	if size == 0 || log.Takes(size) {
		return
	}
	t := &taking{s: s, began: s.m.stopwatch()}
	t.toldAt.Store(t.began)
	s.m.taking.Store(t)
	defer s.m.taking.CompareAndSwap(t, nil)
	s.m.prepare(log, size)
}

// wrote is called when a write to the log's disk has ended. It may be called by any goroutine.
func (m *Member) wrote() {
	now := m.stopwatch()
	m.wroteAt.Store(now)
	t := m.taking.Load()
	if t == nil || time.Duration(now-t.began) > turnExcused {
		return
	}
	if told := t.toldAt.Load(); time.Duration(now-told) >= peer.Heartbeat && t.toldAt.CompareAndSwap(told, now) {
		t.s.Arriving()
	}
}
