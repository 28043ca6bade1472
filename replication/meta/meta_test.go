package meta

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
	"github.com/replicatedstore/replicatedstore/replication/randtest"
)

const (
	childDir     = "RSTORE_TEST_META_DIR"
	childPromise = "RSTORE_TEST_META_PROMISE"
)

// TestMain lets the test binary act as the other process of TestSecondProcessIsRefused and TestKill9DuringPromise.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childPromise); dir != "" {
		fmt.Fprintln(os.Stderr, promiseForever(dir))
		os.Exit(1)
	}
	if dir := os.Getenv(childDir); dir != "" {
		_, err := Open(vfs.Default, dir, options())
		fmt.Println(errors.Is(err, ErrInUse), err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func seeded(t *testing.T) *rand.Rand { return randtest.New(t) }

func options() Options { return Options{Store: "orders", Member: "orders-1"} }

func mustOpen(t *testing.T, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open(fs, "d", options())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func promise(e replication.Epoch) func(*State) {
	return func(s *State) { s.Promises.Promised = e }
}

func TestIdentityIsMadeOnceAndKept(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs)
	first := s.State()
	if len(first.Incarnation) != 32 || first.Generation != 1 || first.Store != "orders" || first.Member != "orders-1" {
		t.Fatalf("%+v", first)
	}
	want := replication.Promises{Promised: 7, Epoch: 6, Leader: "orders-2", Address: "h:1"}
	if err := s.Save(want); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	if err := s.Save(want); err == nil {
		t.Fatal("saved after close")
	}
	s = mustOpen(t, fs)
	if got := s.State(); got.Incarnation != first.Incarnation || got.Promises != want {
		t.Fatalf("reopened %+v", got)
	}
	if other := mustOpenIn(t, vfs.NewMem(), "d"); other.State().Incarnation == first.Incarnation {
		t.Fatal("two directories of one incarnation")
	}
}

func mustOpenIn(t *testing.T, fs vfs.FS, dir string) *Store {
	t.Helper()
	s, err := Open(fs, dir, options())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStateIsACopy(t *testing.T) {
	s := mustOpen(t, vfs.NewMem())
	if err := s.Update(func(st *State) { st.Seed = &Seed{Generation: 2, ID: "a"} }); err != nil {
		t.Fatal(err)
	}
	s.State().Seed.ID = "b"
	if s.State().Seed.ID != "a" {
		t.Fatal("a caller changed the state")
	}
}

func TestRenewChangesTheIncarnationAndCountsIt(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs)
	if err := s.Update(promise(5)); err != nil {
		t.Fatal(err)
	}
	want := s.State()
	renewed, err := s.Renew()
	if err != nil || renewed == want.Incarnation || renewed == "" {
		t.Fatalf("%q after %q, %v", renewed, want.Incarnation, err)
	}
	want.Incarnation, want.Renewals = renewed, 1
	closeStore(t, s)
	if got := mustOpen(t, fs).State(); got != want {
		t.Fatalf("reopened %+v, want %+v", got, want)
	}
}

func TestUpdateRefuses(t *testing.T) {
	s := mustOpen(t, vfs.NewMem())
	if err := s.Update(func(st *State) { st.Promises.Promised, st.Generation = 5, 3 }); err != nil {
		t.Fatal(err)
	}
	before := s.State()
	for name, change := range map[string]func(*State){
		"a promise that falls":       promise(4),
		"another incarnation":        func(st *State) { st.Incarnation = "x" },
		"another store":              func(st *State) { st.Store = "x" },
		"another member":             func(st *State) { st.Member = "x" },
		"a generation that falls":    func(st *State) { st.Generation = 2 },
		"a seed of the current one":  func(st *State) { st.Seed = &Seed{Generation: 3} },
		"a generation above its own": func(st *State) { st.Seed, st.Generation = &Seed{Generation: 5}, 6 },
	} {
		if err := s.Update(change); !errors.Is(err, ErrRefused) || s.State() != before {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Update(promise(6)); err != nil {
		t.Fatalf("a refusal must change nothing: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, fs vfs.FS)
		want  error
	}{
		"META lost, data there":      {func(t *testing.T, fs vfs.FS) { remove(t, fs, "d/META") }, ErrNoMeta},
		"a flipped bit in the body":  {func(t *testing.T, fs vfs.FS) { flip(t, fs, -5) }, ErrCorrupt},
		"a flipped bit in the head":  {func(t *testing.T, fs vfs.FS) { flip(t, fs, 3) }, ErrCorrupt},
		"an empty file":              {func(t *testing.T, fs vfs.FS) { write(t, fs, "") }, ErrCorrupt},
		"a later version":            {func(t *testing.T, fs vfs.FS) { write(t, fs, "rstore-meta v2 3 00000000\n{}\n") }, ErrVersion},
		"a field of a later version": {func(t *testing.T, fs vfs.FS) { write(t, fs, withBody(`{"store": "orders", "later": 1}`)) }, ErrVersion},
		"somebody else's file":       {func(t *testing.T, fs vfs.FS) { write(t, fs, "hello\n") }, ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			closeStore(t, mustOpen(t, fs))
			c.spoil(t, fs)
			_, err := Open(fs, "d", options())
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "data directory d") {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if corrupt := errors.Is(err, ErrCorrupt); corrupt != strings.Contains(err.Error(), "empty this directory") {
				t.Errorf("what to do: %v", err)
			}
			// Nothing was made up, and the lock is free again.
			if _, err := Open(fs, "d", options()); !errors.Is(err, c.want) {
				t.Fatalf("the second time: %v", err)
			}
		})
	}
	fs := vfs.NewMem()
	closeStore(t, mustOpen(t, fs))
	for _, o := range []Options{{Store: "orders", Member: "orders-2"}, {Store: "payments", Member: "orders-1"}} {
		if _, err := Open(fs, "d", o); !errors.Is(err, ErrForeign) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// withBody returns META with the given body and a correct checksum.
func withBody(body string) string {
	body += "\n"
	return fmt.Sprintf("rstore-meta v%d %d %08x\n%s", formatVersion, len(body), crc32.Checksum([]byte(body), castagnoli), body)
}

func remove(t *testing.T, fs vfs.FS, path string) {
	t.Helper()
	if err := fs.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, fs vfs.FS, data string) {
	t.Helper()
	if err := durable.WriteFile(fs, "d", fileName, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func flip(t *testing.T, fs vfs.FS, at int) {
	t.Helper()
	data, err := durable.ReadFile(fs, "d/META", maxFileBytes)
	if err != nil {
		t.Fatal(err)
	}
	data[(at+len(data))%len(data)] ^= 1
	write(t, fs, string(data))
}

// A new ext4 volume is not quite empty.
func TestLostAndFoundIsEmpty(t *testing.T) {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("d", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := fs.MkdirAll("d/lost+found", 0o755); err != nil {
		t.Fatal(err)
	}
	closeStore(t, mustOpen(t, fs))
}

// An error about a directory that is not writable says so, and does not blame a second process.
func TestUnwritableDirectoryIsNotInUse(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, lockName), 0o755); err != nil { // nobody, not even root, can create a file of that name
		t.Fatal(err)
	}
	if _, err := Open(vfs.Default, dir, options()); err == nil || errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "must be writable") {
		t.Fatal(err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := mustOpenIn(t, vfs.Default, dir)
	if _, err := Open(vfs.Default, dir, options()); !errors.Is(err, ErrInUse) {
		t.Fatalf("the same process: %v", err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	out, err := child.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "true") {
		t.Fatalf("another process: %s, %v", out, err)
	}
	closeStore(t, s)
	if out, err = rerun(child); err != nil || !strings.HasPrefix(string(out), "false <nil>") {
		t.Fatalf("after close: %s, %v", out, err)
	}
}

func rerun(c *exec.Cmd) ([]byte, error) {
	again := exec.Command(c.Path)
	again.Env = c.Env
	return again.CombinedOutput()
}

func TestFullVolumeStillKeepsPromises(t *testing.T) {
	// A volume of a fixed number of blocks, all taken except those of the reserve.
	fs := vfs.NewMem()
	var full atomic.Bool
	reserved := true
	limited := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch {
		case !full.Load():
		case op.Kind == errorfs.OpRemove && strings.HasSuffix(op.Path, reserveName):
			reserved = false
		case op.Kind == errorfs.OpFileWrite && (reserved || strings.HasSuffix(op.Path, reserveName+durable.TempSuffix)):
			return syscall.ENOSPC
		}
		return nil
	}))
	s := mustOpen(t, limited)
	full.Store(true)
	for e := replication.Epoch(1); e <= 3; e++ {
		if err := s.Update(promise(e)); err != nil {
			t.Fatalf("promise %d on a full volume: %v", e, err)
		}
	}
	reserved = true // somebody else took the freed blocks
	if err := s.Update(promise(4)); !errors.Is(err, syscall.ENOSPC) || s.State().Promises.Promised != 3 {
		t.Fatalf("%v, promised %d", err, s.State().Promises.Promised)
	}
	full.Store(false)
	if err := s.Update(promise(4)); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if info, err := fs.Stat("d/" + reserveName); err != nil || info.Size() != reserveBytes {
		t.Fatalf("the reserve is not set aside again: %v", err)
	}
}

func TestFailedSyncIsFinal(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpRename, errorfs.OpOpenDir} {
		var armed atomic.Bool
		broken := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if armed.Load() && op.Kind == kind {
				return syscall.EIO
			}
			return nil
		}))
		s := mustOpen(t, broken)
		armed.Store(true)
		if err := s.Update(promise(1)); !errors.Is(err, ErrFailed) {
			t.Fatalf("op %d: %v", kind, err)
		}
		armed.Store(false)
		if err := s.Update(promise(2)); !errors.Is(err, ErrFailed) || s.State().Promises.Promised != 0 {
			t.Fatalf("op %d, the second time: %v, promised %d", kind, err, s.State().Promises.Promised)
		}
	}
}

func TestStartOverAndRemoveObsolete(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs)
	for _, dir := range []string{s.LogDir(2), s.StateDir(2), s.StateDir(7), s.QuarantineDir()} {
		if err := durable.MkdirAll(fs, dir); err != nil {
			t.Fatal(err)
		}
		if err := durable.WriteFile(fs, dir, "x", []byte("y")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Update(func(st *State) { st.Seed = &Seed{Generation: 2, ID: "a"} }); err != nil {
		t.Fatal(err)
	}
	if removed, err := s.RemoveObsolete(); err != nil || fmt.Sprint(removed) != "[state-7]" {
		t.Fatalf("removed %v, %v", removed, err)
	}
	if err := s.StartOver(); err != nil {
		t.Fatal(err)
	}
	st := s.State()
	if st.Generation != 2 || st.Seed == nil || st.Seed.Generation != 3 || st.Seed.ID != "" || !st.Seed.Dropped || !st.Promises.NeedSeed {
		t.Fatalf("%+v", st)
	}
	if names, err := fs.List(s.StateDir(2)); err != nil || len(names) != 0 {
		t.Fatalf("files of the seed are in the empty generation: %v, %v", names, err)
	}
	if _, err := s.RemoveObsolete(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"d/wal-1": false, "d/state-1": false, "d/wal-2": true, "d/state-2": true, "d/quarantine/x": true} {
		if _, err := fs.Stat(path); (err == nil) != want {
			t.Errorf("%s is there: %v", path, err == nil)
		}
	}
}
