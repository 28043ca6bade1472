package fake

import (
	"fmt"

	"github.com/replicatedstore/replicatedstore/replication"
)

// memLog is a replication.Log that loses its unsynced tail in a crash.
type memLog struct {
	recs    []replication.Record
	durable int // how many records survive a crash
	base    replication.Mark
	table   replication.EpochTable // of the entries up to base
	full    bool
}

func (l *memLog) Append(recs ...replication.Record) error {
	for _, r := range recs {
		if err := r.Follows(l.Last()); err != nil {
			return err
		}
		l.recs = append(l.recs, r)
	}
	return nil
}

func (l *memLog) Room() error {
	if l.full {
		return replication.ErrNoSpace
	}
	return nil
}

func (l *memLog) Sync() (replication.Mark, error) { l.durable = len(l.recs); return l.Last(), nil }

func (l *memLog) end(n int) replication.Mark {
	if n == 0 {
		return l.base
	}
	return l.recs[n-1].Mark()
}

func (l *memLog) Last() replication.Mark      { return l.end(len(l.recs)) }
func (l *memLog) Durable() replication.Mark   { return l.end(l.durable) }
func (l *memLog) First() replication.Position { return l.base.Position + 1 }

func (l *memLog) MarkAt(p replication.Position) (replication.Mark, bool) {
	for n := range len(l.recs) + 1 {
		if m := l.end(n); m.Position == p {
			return m, true
		}
	}
	return replication.Mark{}, false
}

func (l *memLog) Epochs() replication.EpochTable {
	t := l.table
	for i := range l.recs {
		var err error
		if t, err = t.Append(l.recs[i].Epoch, l.recs[i].First); err != nil {
			panic(err)
		}
	}
	return t
}

func (l *memLog) Cut(p replication.Position, _ string) (uint64, error) {
	for n := range len(l.recs) + 1 {
		if l.end(n).Position == p {
			cut := l.Last().Position - p
			l.recs, l.durable = l.recs[:n:n], n
			return uint64(cut), nil
		}
	}
	return 0, fmt.Errorf("cut at position %d, which is no boundary", p)
}

// after returns at most n records that follow position p.
func (l *memLog) after(p replication.Position, n int) []replication.Record {
	for i := range l.recs {
		if l.recs[i].First == p+1 {
			return l.recs[i:min(len(l.recs), i+n)]
		}
	}
	return nil
}

// copyOf returns what a seed installs: the durable part of another log, up to a position.
func copyOf(o *memLog, upTo replication.Position) *memLog {
	c := &memLog{base: o.base, table: o.table}
	for _, r := range o.recs[:o.durable] {
		if r.Last() <= upTo {
			c.recs = append(c.recs, r)
		}
	}
	c.durable = len(c.recs)
	return c
}

// crash drops what was not synced.
func (l *memLog) crash() { l.recs = l.recs[:l.durable:l.durable] }

// stable keeps promises across crashes, but not when the disk is lost.
type stable struct{ p replication.Promises }

func (s *stable) Save(p replication.Promises) error { s.p = p; return nil }
