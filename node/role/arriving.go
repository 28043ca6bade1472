package role

import (
	"sync/atomic"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/peer"
)

// A long record takes a slow network, or a slow disk, longer than a leader or a follower may be silent. Neither is, as long as that gets on.

// Arriving implements peer.Follower: a leader of whose message bytes arrive is heard. The acknowledgement that answers it names no later
// Append than the one before, so it grants nothing more.
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

// taking is a session that waits for the disk to take what arrived before. began and toldAt, when it was told last that the disk gets on, are
// nanoseconds since the member's start.
type taking struct {
	s      *Session
	began  int64
	toldAt atomic.Int64
}

// prepare has the log do ahead, beside the role's turn, what it would have to wait for the disk for in it, before it takes recs. As long as
// the disk gets on, but for no longer than that would excuse this member, that is as if they were still arriving: nobody looks meanwhile
// whether their leader is there.
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

// wrote is told that a write to the log's disk has ended. Called from anywhere.
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
