package meta

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

func open(t *testing.T, fs vfs.FS) *File {
	t.Helper()
	f, _, err := Open(fs, "d", "orders")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestIdentityIsMadeOnceAndKept(t *testing.T) {
	fs := vfs.NewMem()
	f, created, err := Open(fs, "d", "orders")
	if err != nil || !created || f.State().Incarnation == "" {
		t.Fatalf("first open: created %v, state %+v, error %v", created, f.State(), err)
	}
	if err := f.Update(func(s *State) { s.Promises.Promised = 7 }); err != nil {
		t.Fatal(err)
	}
	first := f.State()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f, created, err = Open(fs, "d", "orders")
	if err != nil || created || f.State() != first {
		t.Fatalf("second open: created %v, state %+v, error %v; want %+v", created, f.State(), err, first)
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(fs vfs.FS)
		want  error
	}{
		"META lost over old data": {func(fs vfs.FS) {
			_ = fs.Remove("d/META")
			_ = fs.MkdirAll("d/wal-1", 0o755)
		}, ErrForeign},
		"a flipped bit": {func(fs vfs.FS) {
			data, _ := durable.ReadFile(fs, "d/META", maxBytes)
			data[len(data)-5] ^= 1
			_ = durable.WriteFile(fs, "d", "META", data)
		}, ErrDamaged},
		"an empty file": {func(fs vfs.FS) { _ = durable.WriteFile(fs, "d", "META", nil) }, ErrDamaged},
		"a later version": {func(fs vfs.FS) {
			_ = durable.WriteFile(fs, "d", "META", []byte("replicatedstore meta 2 00000000\n{}\n"))
		}, ErrDamaged},
		"somebody else's":   {func(fs vfs.FS) { _ = durable.WriteFile(fs, "d", "META", []byte("hello")) }, ErrDamaged},
		"without directory": {func(fs vfs.FS) { _ = fs.Remove("d/META") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			_ = open(t, fs).Close()
			c.spoil(fs)
			f, _, err := Open(fs, "d", "orders")
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if c.want != nil && !strings.Contains(err.Error(), "d") {
				t.Fatalf("error %q does not name the directory", err)
			}
			if f != nil {
				_ = f.Close()
			}
		})
	}
}

func TestOtherStoreAndSecondProcess(t *testing.T) {
	fs := vfs.NewMem()
	f := open(t, fs)
	if _, _, err := Open(fs, "d", "orders"); !errors.Is(err, ErrInUse) {
		t.Fatalf("second process: %v, want ErrInUse", err)
	}
	_ = f.Close()
	if _, _, err := Open(fs, "d", "payments"); !errors.Is(err, ErrOtherStore) {
		t.Fatalf("other store: %v, want ErrOtherStore", err)
	}
}

// After a power loss the promise is that of the last finished Update or of the one under way, never an older one.
func TestPromisesSurvivePowerLoss(t *testing.T) {
	const seed = 11
	rng := rand.New(rand.NewPCG(seed, 0))
	for round := range 200 {
		fs := vfs.NewCrashableMem()
		f := open(t, fs)
		n := rng.IntN(20)
		for i := range n {
			if err := f.Update(func(s *State) { s.Promises.Promised = replication.Epoch(i + 1) }); err != nil {
				t.Fatal(err)
			}
		}
		after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		g := open(t, after)
		if got := g.State().Promises.Promised; got != replication.Epoch(n) {
			t.Fatalf("seed %d round %d: promised %d after the crash, want %d", seed, round, got, n)
		}
		if g.State().Incarnation != f.State().Incarnation {
			t.Fatal("the incarnation changed")
		}
	}
}
