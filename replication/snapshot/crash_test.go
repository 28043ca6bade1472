package snapshot

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

// powerCut takes a crashed copy of a file system before a random one of its changes.
type powerCut struct {
	mu      sync.Mutex
	fs      *vfs.MemFS
	rng     *rand.Rand
	left    int
	percent int
	clone   *vfs.MemFS
}

func (p *powerCut) wrap() vfs.FS {
	return errorfs.Wrap(p.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		if p.clone != nil {
			return errPower
		}
		if p.left--; p.left < 0 {
			p.clone = p.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: p.percent, RNG: p.rng})
			return errPower
		}
		return nil
	}))
}

var errPower = errors.New("the power is off")

// oldState gives generation 1 something to lose: a log of some records and a state file.
func oldState(t *testing.T, fs vfs.FS, store *meta.Store) replication.Mark {
	t.Helper()
	l, _, err := wal.Open(fs, store.LogDir(1), smallLog)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		end := l.Last()
		r, err := replication.EncodeRecord(replication.Seal{Epoch: 1, First: end.Position + 1, Prev: end.Chain}, 1, []byte{1, 'x'})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	last := l.Last()
	if err := errors.Join(l.Close(), durable.WriteFile(fs, store.StateDir(1), "old.sst", []byte("old"))); err != nil {
		t.Fatal(err)
	}
	return last
}

// holdsOld checks that generation 1 is whole.
func holdsOld(t *testing.T, fs vfs.FS, store *meta.Store, last replication.Mark) {
	t.Helper()
	l, _, err := wal.Open(fs, store.LogDir(1), smallLog)
	if err != nil {
		t.Fatalf("the old log: %v", err)
	}
	if l.Last() != last {
		t.Fatalf("the old log ends in %v, want %v", l.Last(), last)
	}
	got, err := durable.ReadFile(fs, fs.PathJoin(store.StateDir(1), "old.sst"), 100)
	if err = errors.Join(err, l.Close()); err != nil || !bytes.Equal(got, []byte("old")) {
		t.Fatalf("the old state: %q, %v", got, err)
	}
}

// TestSeedSurvivesPowerLoss cuts the power repeatedly while a member is seeded. After every cut the member holds its old
// generation whole, or the new one, and in the end it is seeded.
func TestSeedSurvivesPowerLoss(t *testing.T) {
	rng := seeded(t)
	var cuts, inNew, rotten int
	for range 60 {
		o := newOrigin(t, rng, ChunkBytes+100, 0, 40_000, 3)
		fs := vfs.NewCrashableMem()
		store := openMeta(t, fs)
		last := oldState(t, fs, store)
		incarnation := store.State().Incarnation
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		for {
			cut := &powerCut{fs: fs, rng: rng, left: 2 + rng.IntN(70), percent: rng.IntN(101)}
			broken := cut.wrap()
			store, err := meta.Open(broken, "data", meta.Options{Store: "orders", Member: "orders-2"})
			if err == nil {
				err = seedOnce(t, o, broken, store)
			}
			if cut.clone == nil && errors.Is(err, ErrCorrupt) {
				// The unsynced part of a file came back as something else: it is fetched again.
				rotten++
				if err := store.Close(); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if cut.clone == nil {
				if err != nil {
					t.Fatalf("without a cut: %v", err)
				}
				o.holds(t, fs, store)
				break
			}
			cuts++
			fs = cut.clone
			after := openMeta(t, fs)
			switch st := after.State(); {
			case st.Incarnation != incarnation:
				t.Fatal("another incarnation")
			case st.Generation == 1:
				holdsOld(t, fs, after, last)
			case st.Generation == 2 && st.Seed == nil:
				inNew++
				o.holds(t, fs, after)
			default:
				t.Fatalf("%+v", st)
			}
			if after.State().Generation == 2 {
				break
			}
			if err := after.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d cuts, %d after the new generation was current, %d parts fetched anew", cuts, inNew, rotten)
	if cuts < 25 {
		t.Fatalf("only %d power cuts", cuts)
	}
}

func seedOnce(t *testing.T, o *origin, fs vfs.FS, store *meta.Store) error {
	t.Helper()
	if _, err := store.RemoveObsolete(); err != nil {
		return err
	}
	m, _, err := transfer(t, o.Source, receiveOptions(fs, store), nil)
	if err != nil {
		return err
	}
	return Install(fs, store, m, smallLog)
}
