package wal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// kept reads the only quarantine file there is.
func kept(t *testing.T, fs vfs.FS) (Quarantine, []byte) {
	t.Helper()
	files, err := ListQuarantine(fs, "wal/quarantine")
	if err != nil || len(files) != 1 {
		t.Fatalf("%+v, %v", files, err)
	}
	r, err := OpenQuarantine(fs, files[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var raw []byte
	for {
		rec, err := r.Next()
		if err != nil {
			return r.Quarantine, raw
		}
		raw = append(raw, rec.Raw...)
	}
}

// What Keep has copied is what a cut would have copied, and is not copied again.
func TestKeepIsAheadOfTheCut(t *testing.T) {
	for name, c := range map[string]struct {
		appends int // after Keep
		again   bool
	}{"once": {}, "twice": {again: true}, "and more was appended": {appends: 3}} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			var written atomic.Int64
			l, _ := mustOpen(t, errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind == errorfs.OpFileWrite && strings.Contains(op.Path, "quarantine") {
					written.Add(1)
				}
				return nil
			})), "wal", Options{Create: true})
			recs := appendSome(t, l, 1, 100, 3000)
			at := recs[9].Mark()
			if err := l.Keep(t.Context(), at.Position, "test"); err != nil {
				t.Fatal(err)
			}
			if files, err := ListQuarantine(fs, "wal/quarantine"); err != nil || len(files) > 0 || l.Last() != recs[99].Mark() {
				t.Fatalf("before the cut: %+v, %v, last %v", files, err, l.Last())
			}
			before := written.Load()
			if c.again {
				if err := l.Keep(t.Context(), at.Position, "test"); err != nil {
					t.Fatal(err)
				}
			}
			recs = append(recs, appendSome(t, l, 1, c.appends, 10)...)
			if _, err := l.TruncateAfter(at.Position, "test"); err != nil || l.Last() != at {
				t.Fatalf("%v, last %v", err, l.Last())
			}
			if again := written.Load() > before; again != (c.appends > 0) {
				t.Errorf("copied again: %v", again)
			}
			var want []byte
			for _, r := range recs[10:] {
				want = append(want, r.Raw...)
			}
			q, raw := kept(t, fs)
			if q.Base != at || q.Last != recs[len(recs)-1].Mark() || string(raw) != string(want) {
				t.Errorf("%d bytes of %d are kept: %+v", len(raw), len(want), q)
			}
			names, err := fs.List("wal/quarantine")
			if err != nil || len(names) != 1 {
				t.Errorf("left: %v, %v", names, err)
			}
			closeLog(t, l)
		})
	}
}

// A canceled Keep leaves nothing behind, and neither does one that found no room. A failed fsync is final as always.
func TestKeepThatFails(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx   context.Context
		kind  errorfs.OpKind
		err   error
		want  error
		final bool
	}{
		"told to end":        {ctx: canceled, want: context.Canceled},
		"no room":            {ctx: t.Context(), kind: errorfs.OpFileWrite, err: syscall.ENOSPC, want: ErrNoSpace},
		"failed fsync":       {ctx: t.Context(), kind: errorfs.OpFileSync, err: syscall.EIO, want: ErrFailed, final: true},
		"failed, and to end": {ctx: canceled, kind: errorfs.OpCreate, err: syscall.EIO, want: ErrFailed, final: true},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			l, _ := mustOpen(t, errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if c.err != nil && op.Kind == c.kind && strings.Contains(op.Path, "quarantine") && strings.HasSuffix(op.Path, durable.TempSuffix) {
					return fmt.Errorf("injected: %w", c.err)
				}
				return nil
			})), "wal", Options{Create: true})
			recs := appendSome(t, l, 1, 10, 3000)
			if err := l.Keep(c.ctx, recs[0].Last(), "test"); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if err := l.Err(); (err != nil) != c.final {
				t.Fatalf("the log has failed: %v", err)
			}
			if names, err := fs.List("wal/quarantine"); err != nil || len(names) > 0 {
				t.Errorf("left: %v, %v", names, err)
			}
		})
	}
}

// A copy that no cut has used does not stay: not when another is made, not when the log is closed, and not after a crash.
func TestKeepLeavesNothing(t *testing.T) {
	fs := vfs.NewCrashableMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true})
	recs := appendSome(t, l, 1, 20, 3000)
	files := func(fs vfs.FS) []string {
		t.Helper()
		names, err := fs.List("wal/quarantine")
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	for _, after := range []int{9, 4} {
		if err := l.Keep(t.Context(), recs[after].Last(), "test"); err != nil {
			t.Fatal(err)
		}
	}
	if names := files(fs); len(names) != 1 || !strings.HasPrefix(names[0], "1-16-60") {
		t.Errorf("after another copy: %v", names)
	}
	crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	if len(files(crashed)) == 0 {
		t.Error("the crash has taken it, and this shows nothing")
	}
	again, _ := mustOpen(t, crashed, "wal", Options{})
	if names := files(crashed); len(names) > 0 {
		t.Errorf("after a crash: %v", names)
	}
	closeLog(t, again)
	closeLog(t, l)
	if names := files(fs); len(names) > 0 {
		t.Errorf("after its end: %v", names)
	}
}
