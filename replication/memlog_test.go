package replication_test

import (
	"fmt"

	. "github.com/replicatedstore/replicatedstore/replication"
)

// memLog is a log in memory.
type memLog struct {
	recs    []Record
	durable int // records that were synced
	base    Mark
	table   EpochTable // of the base
}

func (l *memLog) Append(recs ...Record) error {
	for _, r := range recs {
		if err := r.Follows(l.Last()); err != nil {
			return err
		}
		l.recs = append(l.recs, r)
	}
	return nil
}

func (l *memLog) Room() error { return nil }

func (l *memLog) Sync() (Mark, error) { l.durable = len(l.recs); return l.Last(), nil }

func (l *memLog) end(n int) Mark {
	if n == 0 {
		return l.base
	}
	return l.recs[n-1].Mark()
}
func (l *memLog) Last() Mark      { return l.end(len(l.recs)) }
func (l *memLog) Durable() Mark   { return l.end(l.durable) }
func (l *memLog) First() Position { return l.base.Position + 1 }

func (l *memLog) MarkAt(p Position) (Mark, bool) {
	for n := range len(l.recs) + 1 {
		if m := l.end(n); m.Position == p {
			return m, true
		}
	}
	return Mark{}, false
}

func (l *memLog) Epochs() EpochTable {
	t := l.table
	for i := range l.recs {
		var err error
		if t, err = t.Append(l.recs[i].Epoch, l.recs[i].First); err != nil {
			panic(err)
		}
	}
	return t
}

func (l *memLog) Cut(p Position, _ string) (uint64, error) {
	for n := range len(l.recs) + 1 {
		if l.end(n).Position == p {
			cut := l.Last().Position - p
			l.recs, l.durable = l.recs[:n:n], n
			return uint64(cut), nil
		}
	}
	return 0, fmt.Errorf("cut at %d, which is no boundary", p)
}

// memStable keeps promises in memory.
type memStable struct{ p Promises }

func (s *memStable) Save(p Promises) error { s.p = p; return nil }
