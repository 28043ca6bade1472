package durable

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func TestWriteFileIsOneStep(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		fs := vfs.NewCrashableMem()
		if err := MkdirAll(fs, "a/b/c"); err != nil {
			t.Fatal(err)
		}
		old := strings.Repeat("old", rng.IntN(5000))
		if err := WriteFile(fs, "a/b/c", "f", []byte(old)); err != nil {
			t.Fatal(err)
		}
		var clones []*vfs.MemFS
		hooked := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				clones = append(clones, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng}))
			}
			return nil
		}))
		next := strings.Repeat("new", rng.IntN(5000))
		if err := WriteFile(hooked, "a/b/c", "f", []byte(next)); err != nil {
			t.Fatal(err)
		}
		clones = append(clones, fs.CrashClone(vfs.CrashCloneCfg{}))
		for i, clone := range clones {
			got, err := ReadFile(clone, "a/b/c/f", 1<<20)
			if err != nil || string(got) != next && (string(got) != old || i == len(clones)-1) {
				t.Fatalf("crash %d of %d: %d bytes, %v", i, len(clones), len(got), err)
			}
		}
	}
}

func TestWriteFileSaysWhatIsUnknown(t *testing.T) {
	for kind, unknown := range map[errorfs.OpKind]bool{
		errorfs.OpCreate: false, errorfs.OpFileWrite: false, errorfs.OpFileSync: false, errorfs.OpRename: true, errorfs.OpOpenDir: true,
	} {
		fs := vfs.NewMem()
		if err := WriteFile(fs, "", "f", []byte("old")); err != nil {
			t.Fatal(err)
		}
		broken := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == kind {
				return fmt.Errorf("injected: %w", syscall.ENOSPC)
			}
			return nil
		}))
		err := WriteFile(broken, "", "f", []byte("new"))
		if !IsNoSpace(err) || errors.Is(err, ErrOutcomeUnknown) != unknown {
			t.Errorf("op %d: %v", kind, err)
		}
		if got, err := ReadFile(fs, "f", 10); !unknown && (err != nil || string(got) != "old") {
			t.Errorf("op %d: %q, %v", kind, got, err)
		}
	}
}

func TestReadFileIsBounded(t *testing.T) {
	fs := vfs.NewMem()
	if err := WriteFile(fs, "", "f", make([]byte, 11)); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(fs, "f", 10); err == nil {
		t.Fatal("read beyond the bound")
	}
	if _, err := ReadFile(fs, "g", 10); !IsNotExist(err) {
		t.Fatal(err)
	}
	if err := Remove(fs, "g"); err != nil {
		t.Fatal(err)
	}
}
