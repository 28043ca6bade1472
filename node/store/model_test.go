package store

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// model is the content of a store, as a plain map.
type model map[string]Value

// simulation runs random commands on a leader and on a model side by side. Applying lags by a random distance, and
// leaders are deposed with entries that were not taken, or taken but not applied.
type simulation struct {
	*leader
	rng     *rand.Rand
	state   model
	applied model   // the state at the applied position
	history []model // the model after each position above applied
}

func (s *simulation) key() string { return fmt.Sprintf("key%d", s.rng.IntN(25)) }

// want returns what key holds now according to the model; found is false if it has expired.
func (s *simulation) want(key string, now int64) (Value, bool) {
	v, ok := s.state[key]
	return v, ok && !v.expired(now)
}

func (s *simulation) checkGet(key string, now int64, v Value, found bool, err error) {
	s.t.Helper()
	want, ok := s.want(key, now)
	if err != nil || found != ok || (ok && (string(v.Data) != string(want.Data) || v.ExpireAt != want.ExpireAt)) {
		s.t.Fatalf("at tail %d, %s is %q@%d %t (%v), want %q@%d %t", s.s.tail, key, v.Data, v.ExpireAt, found, err, want.Data, want.ExpireAt, ok)
	}
}

// value returns a random value. Some are too long for the arena; some expire soon or have expired already.
func (s *simulation) value(now int64) Value {
	v := str(strings.Repeat(string(rune('a'+s.rng.IntN(26))), s.rng.IntN(60)), 0)
	switch s.rng.IntN(40) {
	case 0:
		v.Data = make([]byte, arenaBytes/4+s.rng.IntN(arenaBytes))
	case 1:
		v.Data = make([]byte, s.rng.IntN(arenaBytes/4))
	}
	if s.rng.IntN(3) == 0 {
		v.ExpireAt = max(0, now-5+s.rng.Int64N(100))
	}
	return v
}

// step does one random thing to the transaction and to the model.
func (s *simulation) step(tx *Tx) {
	key := s.key()
	switch n := s.rng.IntN(100); {
	case n < 35:
		v, found, err := tx.Get([]byte(key))
		s.checkGet(key, tx.Now(), v, found, err)
	case n < 75:
		v := s.value(tx.Now())
		tx.Put([]byte(key), v)
		v.Data = slices.Clone(v.Data)
		if s.state[key] = v; v.expired(tx.Now()) {
			delete(s.state, key)
		}
	case n < 98:
		_, want := s.want(key, tx.Now())
		if existed, err := tx.Delete([]byte(key)); err != nil || existed != want {
			s.t.Fatalf("delete of %s said %t (%v), want %t", key, existed, err, want)
		}
		if want {
			delete(s.state, key)
		}
	default:
		tx.Flush()
		s.state = model{}
	}
}

// batch runs some transactions, discarding a few.
func (s *simulation) batch() {
	_, err := s.s.Run(s.t.Context(), func(b *Batch) {
		for range 1 + s.rng.IntN(4) {
			before, tail := maps.Clone(s.state), s.s.tail
			tx := b.Begin()
			for range s.rng.IntN(6) {
				s.step(tx)
			}
			if s.rng.IntN(8) == 0 {
				b.Discard()
				s.state = before
				continue
			}
			if err := b.End(); err != nil {
				s.t.Fatal(err)
			}
			if s.s.tail != tail {
				s.history = append(s.history, maps.Clone(s.state))
			}
			key := s.key()
			v, found, err := b.Get([]byte(key))
			s.checkGet(key, b.Now(), v, found, err)
		}
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// applySome applies up to a random record and compares the applied state with the model at that position.
func (s *simulation) applySome(upTo int) {
	before := s.m.Applied().Position
	s.apply(upTo)
	if n := int(s.m.Applied().Position - before); n > 0 {
		s.applied, s.history = s.history[n-1], s.history[n:]
	}
	now := s.clock.now
	want := map[string]string{}
	for k, v := range s.applied {
		if !v.expired(now) {
			want[k] = fmt.Sprintf("%s@%d", v.Data, v.ExpireAt)
		}
	}
	if got := contents(s.t, s.m.View(now)); !maps.Equal(got, want) {
		s.t.Fatalf("applied state at %v is %.300v, want %.300v", s.m.Applied(), got, want)
	}
}

func (s *simulation) newLeader() {
	s.deposed(errors.New("deposed"))
	s.state, s.history = maps.Clone(s.applied), nil
	s.history = append(s.history, s.state) // the barrier's position
	s.lead()
	s.applied, s.history = s.history[0], nil
	s.state = maps.Clone(s.applied)
	if len(s.s.overlay.keys) != 0 || s.s.flight.count != 0 || s.s.bytes != 0 || s.s.overlay.flushAt != 0 {
		s.t.Fatal("something of the old leadership is left")
	}
}

func TestSequencerAgainstModel(t *testing.T) {
	for i := range 12 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			rng := newRand(t, 0)
			s := &simulation{leader: newLeader(t, SequencerOptions{MaxBytes: 1 << 30}), rng: rng, state: model{}, applied: model{}}
			for range 1500 {
				switch n := rng.IntN(100); {
				case n < 60:
					s.batch()
				case n < 80:
					s.seal(1 + rng.IntN(2000))
				case n < 95:
					s.applySome(s.sent + rng.IntN(len(s.log)-s.sent+1))
				case n < 97:
					s.clock.now += rng.Int64N(30) - 5 // leader time stays if the wall clock goes back
				case n < 99:
					s.newLeader()
				default:
					s.expire(t)
				}
			}
			s.settle()
			s.checkEmptyOverlay()
			s.checkReplica(t)
		})
	}
}

// expire settles everything (Expire waits) and removes what is due.
func (s *simulation) expire(t *testing.T) {
	for s.seal(1 << 20) {
	}
	s.applySome(len(s.log))
	s.runExpire(t, 1000)
	now := s.s.Now()
	maps.DeleteFunc(s.state, func(_ string, v Value) bool { return v.expired(now) })
	s.applied, s.history = maps.Clone(s.state), nil
	for k, v := range contents(t, s.m.View(0)) { // a view as of long ago shows everything that is stored
		if _, ok := s.state[k]; !ok {
			t.Fatalf("%s = %.20s is expired and still stored", k, v)
		}
	}
}

func (s *simulation) checkEmptyOverlay() {
	s.t.Helper()
	q := s.s
	if len(q.overlay.keys) != 0 || q.overlay.flushAt != 0 || q.flight.count != 0 || q.bytes != 0 {
		s.t.Errorf("all is applied, but left are %d keys, flush at %d, %d entries, %d bytes",
			len(q.overlay.keys), q.overlay.flushAt, q.flight.count, q.bytes)
	}
}

// checkReplica replays the log on another machine in different steps: both must hold the same bytes.
func (s *simulation) checkReplica(t *testing.T) {
	other := openMachine(t, vfs.NewMem(), "replica")
	applyInSteps(t, s.rng, other, s.log)
	if dump(t, other) != dump(t, s.m) {
		t.Error("a replica of the same log holds other bytes")
	}
}
