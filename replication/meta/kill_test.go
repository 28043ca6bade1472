package meta

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// promiseForever opens or creates the directory, and prints its incarnation and then every epoch that it has promised.
func promiseForever(dir string) error {
	s, err := Open(vfs.Default, dir, optionsWithContent(vfs.Default))
	if err != nil {
		return err
	}
	fmt.Println(s.State().Incarnation, s.State().Promises.Promised)
	for {
		next := s.State().Promises.Promised + 1
		if err := s.Update(promise(next)); err != nil {
			return err
		}
		fmt.Println(s.State().Incarnation, next)
	}
}

// optionsWithContent fills a new directory, which must be empty, with something that must still be there afterwards.
func optionsWithContent(fs vfs.FS) Options {
	o := options()
	o.Init = func(logDir, stateDir string) error {
		for _, dir := range []string{logDir, stateDir} {
			if names, err := fs.List(dir); err != nil || len(names) != 0 {
				return fmt.Errorf("%s holds %v, %v", dir, names, err)
			}
			if err := durable.WriteFile(fs, dir, "made", []byte("x")); err != nil {
				return err
			}
		}
		return nil
	}
	return o
}

// TestKill9DuringPromise kills a process that creates its directory and promises one epoch after another. Every promise
// that it reported must be found, and at most the one after it.
func TestKill9DuringPromise(t *testing.T) {
	rng := seeded(t)
	var promises, madeAnew int
	for range 4 {
		dir := t.TempDir()
		var spoken replication.Epoch
		incarnation := ""
		for range 6 {
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), childPromise+"="+dir)
			child.Stderr = os.Stderr
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			// Some are killed at any time after their start, perhaps while they create the directory; the others once they
			// promise.
			wait := time.Duration(5+rng.IntN(60)) * time.Millisecond
			killer := time.AfterFunc(wait, func() { _ = child.Process.Kill() })
			promising := rng.IntN(3) > 0 && killer.Stop()
			for lines := bufio.NewReader(out); ; {
				line, err := lines.ReadString('\n')
				if err != nil {
					break
				}
				if _, err := fmt.Sscan(line, &incarnation, &spoken); err != nil {
					t.Fatalf("line %q: %v", line, err)
				}
				if promises++; promising {
					killer.Reset(wait)
					promising = false
				}
			}
			killer.Stop()
			var exit *exec.ExitError
			if err := child.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
				t.Fatalf("the child ended before it was killed: %v", err)
			}
			if incarnation == "" {
				madeAnew++
				continue // the next child deals with what this one left half created
			}
			s, err := Open(vfs.Default, dir, optionsWithContent(vfs.Default))
			if err != nil {
				t.Fatal(err)
			}
			if st := s.State(); st.Incarnation != incarnation || st.Promises.Promised != spoken && st.Promises.Promised != spoken+1 {
				t.Fatalf("found %+v, spoken of was epoch %d of %s", st, spoken, incarnation)
			}
			spoken = s.State().Promises.Promised
			closeStore(t, s)
		}
	}
	t.Logf("%d promises, %d kills before the directory was made", promises, madeAnew)
	if promises < 10 {
		t.Fatalf("only %d promises", promises)
	}
}

// TestPowerLossAtEveryStep cuts the power before every single change of the file system, with none, some or all of the
// unsynced data lost, while a directory is created, a promise saved, and the generation given up.
func TestPowerLossAtEveryStep(t *testing.T) {
	rng := seeded(t)
	for _, percent := range []int{0, 30, 70, 100} {
		for at := 0; ; at++ {
			fs := vfs.NewCrashableMem()
			var clone *vfs.MemFS
			left := at
			hooked := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
					return nil
				}
				if left--; left == -1 {
					clone = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
				}
				return nil
			}))
			// The directory may hold the state before the current step, or after it.
			legal, incarnation := legalStates(t, hooked, func() bool { return clone != nil })
			if clone == nil {
				if at < 20 {
					t.Fatalf("only %d steps", at)
				}
				break
			}
			s, err := Open(clone, "d", optionsWithContent(clone))
			if err != nil {
				t.Fatalf("step %d, %d %%: %v", at, percent, err)
			}
			st := s.State()
			if !slices.Contains(legal, shape(st)) {
				t.Fatalf("step %d, %d %%: found %q, none of %q", at, percent, shape(st), legal)
			}
			if incarnation != "" && st.Incarnation != incarnation {
				t.Fatalf("step %d, %d %%: the directory was made anew", at, percent)
			}
			for _, dir := range []string{s.LogDir(st.Generation), s.StateDir(st.Generation)} {
				if _, err := clone.Stat(clone.PathJoin(dir, "made")); err != nil {
					t.Fatalf("step %d, %d %%: META names %s, which was not made: %v", at, percent, dir, err)
				}
			}
			closeStore(t, s)
		}
	}
}

// legalStates creates a directory and changes it until crashed. It returns the states that may be found then, and the incarnation
// that must be, or "" if the directory was not complete.
func legalStates(t *testing.T, fs vfs.FS, crashed func() bool) (legal []string, incarnation string) {
	t.Helper()
	s, err := Open(fs, "d", optionsWithContent(fs))
	if err != nil {
		t.Fatal(err)
	}
	if !crashed() {
		incarnation = s.State().Incarnation
	}
	legal = []string{shape(s.State())}
	for _, step := range []func() error{
		func() error { return s.Update(promise(1)) },
		func() error { return s.Update(promise(2)) },
		s.StartOver,
		func() error { return s.Update(promise(3)) },
		func() error { _, err := s.RemoveObsolete(); return err },
	} {
		if crashed() {
			break
		}
		if err := step(); err != nil {
			t.Fatal(err)
		}
		legal = append(legal[len(legal)-1:], shape(s.State()))
	}
	return legal, incarnation
}

// shape returns a state without its incarnation, which is drawn anew if a crash interrupts the creation of the directory.
func shape(s State) string {
	dropped := s.Seed != nil && s.Seed.Dropped
	return fmt.Sprintf("promised %d, generation %d, dropped %v, needs seed %v", s.Promises.Promised, s.Generation, dropped, s.Promises.NeedSeed)
}

// TestEveryFlippedBit flips each bit of META in turn. META is then refused, with a message that names the file and what to
// do, or it reads as the same state: a hexadecimal digit has two cases.
func TestEveryFlippedBit(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs)
	if err := s.Update(func(st *State) {
		st.Promises = replication.Promises{Promised: 7, Epoch: 6, Leader: "orders-0"}
		st.Seed = &Seed{Generation: 2, ID: "a", Mark: replication.Mark{Epoch: 6, Position: 9}}
	}); err != nil {
		t.Fatal(err)
	}
	want := s.State()
	closeStore(t, s)
	good, err := durable.ReadFile(fs, "d/META", maxFileBytes)
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for bit := range len(good) * 8 {
		bad := append([]byte(nil), good...)
		bad[bit/8] ^= 1 << (bit % 8)
		write(t, fs, string(bad))
		s, err := Open(fs, "d", options())
		if err == nil {
			if got := s.State(); *got.Seed != *want.Seed || got.Promises != want.Promises || got.Incarnation != want.Incarnation || got.Generation != want.Generation {
				t.Fatalf("bit %d: reads as %+v, was %+v", bit, got, want)
			}
			same++
			closeStore(t, s)
			continue
		}
		text := err.Error()
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) || !strings.Contains(text, "META") || !strings.Contains(text, "restore it from a copy") && !strings.Contains(text, "start the version") {
			t.Fatalf("bit %d: the refusal does not name the file and what to do: %v", bit, err)
		}
	}
	if same > 16 {
		t.Fatalf("%d flipped bits were not noticed", same)
	}
}
