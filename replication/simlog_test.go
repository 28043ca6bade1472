package replication_test

import (
	"fmt"
	"math/rand/v2"

	. "github.com/replicatedstore/replicatedstore/replication"
)

// simLog is a log whose unsynced end a crash may lose in part.
type simLog struct {
	recs    []Record
	durable int // records that a crash keeps
	base    Mark
	table   EpochTable // of the base
}

func (l *simLog) Append(recs ...Record) error {
	for _, r := range recs {
		if err := r.Follows(l.Last()); err != nil {
			return err
		}
		l.recs = append(l.recs, r)
	}
	return nil
}

func (l *simLog) Room() error { return nil }

func (l *simLog) Sync() (Mark, error) { l.durable = len(l.recs); return l.Last(), nil }

func (l *simLog) end(n int) Mark {
	if n == 0 {
		return l.base
	}
	return l.recs[n-1].Mark()
}
func (l *simLog) Last() Mark      { return l.end(len(l.recs)) }
func (l *simLog) Durable() Mark   { return l.end(l.durable) }
func (l *simLog) First() Position { return l.base.Position + 1 }

func (l *simLog) MarkAt(p Position) (Mark, bool) {
	for n := range len(l.recs) + 1 {
		if m := l.end(n); m.Position == p {
			return m, true
		}
	}
	return Mark{}, false
}

func (l *simLog) Epochs() EpochTable {
	t := l.table
	for i := range l.recs {
		var err error
		if t, err = t.Append(l.recs[i].Epoch, l.recs[i].First); err != nil {
			panic(err)
		}
	}
	return t
}

func (l *simLog) Cut(p Position, _ string) (uint64, error) {
	for n := range len(l.recs) + 1 {
		if l.end(n).Position == p {
			cut := l.Last().Position - p
			l.recs, l.durable = l.recs[:n:n], n
			return uint64(cut), nil
		}
	}
	return 0, fmt.Errorf("cut at %d, which is no boundary", p)
}

func (l *simLog) Read(from Position, maxBytes int, dst []Record) ([]Record, error) {
	if from < l.First() {
		return dst, fmt.Errorf("position %d is pruned", from)
	}
	for i := range l.recs {
		if l.recs[i].First >= from && (maxBytes > 0 || len(dst) == 0) {
			dst = append(dst, l.recs[i])
			maxBytes -= l.recs[i].Size()
		}
	}
	return dst, nil
}

// crash keeps what was durable and a random part of the rest.
func (l *simLog) crash(rng *rand.Rand) {
	keep := l.durable + rng.IntN(len(l.recs)-l.durable+1)
	l.recs = l.recs[:keep:keep]
	l.durable = keep // recovery syncs what it keeps before it says so
}

// simStable survives every crash.
type simStable struct{ p Promises }

func (s *simStable) Save(p Promises) error { s.p = p; return nil }
