package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// randomLog returns n records of random effects on few keys, over several epochs, with barriers.
func randomLog(t testing.TB, rng *rand.Rand, n int) (log []replication.Record) {
	end, epoch, now := replication.Mark{}, replication.Epoch(0), int64(1000)
	for i := range n {
		now += rng.Int64N(50)
		if i == 0 || rng.IntN(20) == 0 {
			epoch += 1 + replication.Epoch(rng.IntN(2))
			b, err := replication.EncodeBarrier(replication.Seal{Epoch: epoch, First: end.Position + 1, UnixMilli: now, Prev: end.Chain})
			if err != nil {
				t.Fatal(err)
			}
			log, end = append(log, b), b.Mark()
			continue
		}
		entries := make([][]byte, 1+rng.IntN(8))
		for j := range entries {
			entries[j] = randomEntry(rng)
		}
		r := record(t, end, epoch, now, entries...)
		log, end = append(log, r), r.Mark()
	}
	return log
}

func randomEntry(rng *rand.Rand) []byte {
	e := []byte{entryVersion}
	for range 1 + rng.IntN(4) {
		key := fmt.Sprintf("key%d", rng.IntN(40))
		expireAt := rng.Int64N(2) * (1 + rng.Int64N(5000))
		switch n := rng.IntN(100); {
		case n < 60:
			e = appendPut(e, []byte(key), str(strings.Repeat("x", rng.IntN(200)), expireAt))
		case n < 85:
			e = appendDelete(e, []byte(key))
		case n < 98:
			e = appendUnindex(e, 1+rng.Int64N(5000), []byte(key))
		default:
			e = appendFlush(e)
		}
	}
	return e
}

// applyInSteps applies log in calls of random size, sometimes flushing.
func applyInSteps(t testing.TB, rng *rand.Rand, m *Machine, log []replication.Record) {
	t.Helper()
	for len(log) > 0 {
		n := 1 + rng.IntN(len(log))
		if err := m.Apply(log[:n]); err != nil {
			t.Fatal(err)
		}
		log = log[n:]
		if rng.IntN(3) == 0 {
			if _, err := m.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestApplyIsDeterministic(t *testing.T) {
	rng := newRand(t, 0)
	log := randomLog(t, rng, 400)
	one := openMachine(t, vfs.NewMem(), "one")
	for _, r := range log {
		if err := one.Apply([]replication.Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	want := dump(t, one)
	for i := range 5 {
		m := openMachine(t, vfs.NewMem(), "state")
		applyInSteps(t, rng, m, log)
		if got := dump(t, m); got != want {
			t.Fatalf("machine %d differs: %d bytes instead of %d", i, len(got), len(want))
		}
		if m.Applied() != log[len(log)-1].Mark() || m.AppliedTime() != log[len(log)-1].UnixMilli || m.Ceiling() != m.Applied() {
			t.Errorf("applied %v at %d, ceiling %v", m.Applied(), m.AppliedTime(), m.Ceiling())
		}
	}
}

func TestApplyRefuses(t *testing.T) {
	good := randomLog(t, rand.New(rand.NewPCG(1, 1)), 10)
	end := good[9].Mark()
	fresh := entryOf(putOf("k", "v", 0))
	broken := record(t, end, end.Epoch, 9999, fresh, []byte{1, 9})
	flipped := record(t, end, end.Epoch, 9999, fresh)
	flipped.Raw = bytes.Clone(flipped.Raw)
	flipped.Raw[len(flipped.Raw)-1] ^= 1
	gap, old, fork := end, end, end
	gap.Position++
	fork.Chain++
	for name, tc := range map[string]struct {
		rec  replication.Record
		want string
	}{
		"gap":            {record(t, gap, end.Epoch, 9999, fresh), "the log ends at"},
		"again":          {good[9], "the log ends at"},
		"older epoch":    {record(t, old, end.Epoch-1, 9999, fresh), "epoch"},
		"other history":  {record(t, fork, end.Epoch, 9999, fresh), "checksum"},
		"damaged":        {flipped, "checksum"},
		"unknown effect": {broken, fmt.Sprintf("position %d", end.Position+2)},
	} {
		t.Run(name, func(t *testing.T) {
			m := openMachine(t, vfs.NewMem(), "state")
			if err := m.Apply(good); err != nil {
				t.Fatal(err)
			}
			before := dump(t, m)
			err := m.Apply([]replication.Record{tc.rec})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
			if dump(t, m) != before || m.Applied() != end {
				t.Error("a refused record changed the state")
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Run("newer format", func(t *testing.T) {
		if _, err := decodeApplied([]byte{2, 0, 9, 9}); err == nil || !strings.Contains(err.Error(), "format 2") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("keys without a mark", func(t *testing.T) {
		fs := vfs.NewMem()
		m, err := Open(fs, "state", Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.db.Set([]byte("d......k"), nil, nil); err == nil {
			t.Fatal("a synced write passed without a WAL")
		}
		if err := m.Apply(randomLog(t, rand.New(rand.NewPCG(1, 1)), 5)); err != nil {
			t.Fatal(err)
		}
		if err := m.pour(); err != nil {
			t.Fatal(err)
		}
		b := m.db.NewBatch()
		if err := errors.Join(b.Delete(appliedKey, nil), m.db.Apply(b, noSync)); err != nil {
			t.Fatal(err)
		}
		if err := m.db.Flush(); err != nil {
			t.Fatal(err)
		}
		_ = m.Close()
		if _, err := Open(fs, "state", Options{}); err == nil || !strings.Contains(err.Error(), "no applied mark") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("mark of nothing", func(t *testing.T) {
		if _, err := ReadMark(vfs.NewMem(), "absent"); err == nil {
			t.Error("a directory that does not exist has a mark")
		}
	})
}

func TestClosed(t *testing.T) {
	m := openMachine(t, vfs.NewMem(), "state")
	v := m.View(0)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	_, getErr := v.Exists([]byte("k"))
	_, flushErr := m.Flush(t.Context())
	_, checkErr := m.Checkpoint("copy")
	_, countErr := v.Count(t.Context())
	_, _, randErr := v.RandomKey(1)
	_, scanErr := v.Scan(0, 1, func(Entry) bool { return true })
	for _, err := range []error{getErr, flushErr, checkErr, countErr, randErr, scanErr, m.Apply(nil), m.Close(),
		v.GetMany(nil, nil), v.ForEach(t.Context(), nil)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}
