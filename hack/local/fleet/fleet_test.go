package fleet_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/local/fleet"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rstore-node-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "node")
	out, err := exec.Command("go", "build", "-o", path, "../../../cmd/node").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the node: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := buildOnce(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// start runs a fleet for one test.
func start(t *testing.T, members, sync int, dir string) *fleet.Fleet {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	f, err := fleet.Start(within(t), fleet.Options{Binary: path, Members: members, Sync: sync, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// within returns a context that only ends what hangs.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func write(t *testing.T, f *fleet.Fleet, id string) *ledger.Writer {
	t.Helper()
	w, err := ledger.Start(within(t), ledger.Options{ID: id, Address: f.Members()[f.Leader()].Client, Connections: 4, Rate: 400, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func untilAcknowledged(t *testing.T, w *ledger.Writer, n int64) {
	t.Helper()
	ctx := within(t)
	for w.Stats(time.Time{}).Acknowledged < n {
		if ctx.Err() != nil {
			t.Fatalf("fewer than %d writes: %+v", n, w.Stats(time.Time{}))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func verify(t *testing.T, f *fleet.Fleet, w *ledger.Writer) {
	t.Helper()
	var members []ledger.Member
	for _, m := range f.Members() {
		members = append(members, ledger.Member{Name: m.Name, Address: m.Client})
	}
	r, err := w.Verify(within(t), members)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	if !r.OK() {
		t.Fatalf("%v: %v", r, r.First)
	}
}

// TestKilledLeader kills the leader under load, three times, and checks that no member misses an acknowledged write.
func TestKilledLeader(t *testing.T) {
	f := start(t, 3, 1, "")
	for round := range 3 {
		w := write(t, f, fmt.Sprintf("round%d", round))
		untilAcknowledged(t, w, 200)
		dead, epoch, killed := f.Leader(), f.Epoch(), time.Now()
		f.Kill(dead)
		if err := f.Promote(within(t)); err != nil {
			t.Fatal(err)
		}
		if f.Leader() == dead || f.Epoch() <= epoch {
			t.Fatalf("member %d leads epoch %d after member %d led %d", f.Leader(), f.Epoch(), dead, epoch)
		}
		if err := f.AwaitVoters(within(t), 1); err != nil {
			t.Fatal(err)
		}
		t.Logf("writable again after %v", time.Since(killed))
		if err := f.Restart(dead); err != nil {
			t.Fatal(err)
		}
		if err := f.AwaitVoters(within(t), 2); err != nil {
			t.Fatal(err)
		}
		t.Logf("all voters back after %v", time.Since(killed))
		w.Stop()
		verify(t, f, w)
		t.Logf("verified after %v", time.Since(killed))
	}
}

// TestTooFewVotersForALeader checks that with the leader and one of two voters gone, the remaining voter is not promoted, because
// it alone cannot prove what was acknowledged.
func TestTooFewVotersForALeader(t *testing.T) {
	f := start(t, 3, 1, "")
	dead := f.Leader()
	f.Kill(dead)
	f.Kill((dead + 1) % 3)
	if err := f.Promote(within(t)); err == nil {
		t.Fatal("a single voter of two was promoted")
	}
	if err := f.Restart((dead + 1) % 3); err != nil {
		t.Fatal(err)
	}
	ctx := within(t)
	for f.Promote(ctx) != nil {
		if ctx.Err() != nil {
			t.Fatal("with both voters back nobody can be promoted")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := f.AwaitVoters(ctx, 1); err != nil {
		t.Fatal(err)
	}
}

// TestRestartedFleetKeepsItsData stops everything and starts a new fleet on the same directories.
func TestRestartedFleetKeepsItsData(t *testing.T) {
	dir := t.TempDir()
	f := start(t, 3, 1, dir)
	w := write(t, f, "first")
	untilAcknowledged(t, w, 200)
	w.Stop()
	if err := f.Stop(); err != nil {
		t.Fatal(err)
	}
	verify(t, start(t, 3, 1, dir), w)
}

// TestVoterThatLostItsData checks that a wait for all voters includes its seeding, although a voter with its name existed all
// along.
func TestVoterThatLostItsData(t *testing.T) {
	f := start(t, 3, 1, "")
	w := write(t, f, "lost")
	untilAcknowledged(t, w, 200)
	ctx, lost := within(t), f.Members()[(f.Leader()+1)%3]
	before, err := f.Members()[f.Leader()].Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	f.Kill((f.Leader() + 1) % 3)
	if err := os.RemoveAll(lost.Dir); err != nil {
		t.Fatal(err)
	}
	if err := f.Restart((f.Leader() + 1) % 3); err != nil {
		t.Fatal(err)
	}
	if err := f.AwaitVoters(ctx, 2); err != nil {
		t.Fatal(err)
	}
	if st, err := lost.Status(ctx); err != nil || st.Applied < before.Commit {
		t.Errorf("waited for, but not there: %+v, %v; %d was committed before", st, err, before.Commit)
	}
	w.Stop()
	verify(t, f, w)
}

func TestAsynchronousFleet(t *testing.T) {
	f := start(t, 2, 0, "")
	w := write(t, f, "async")
	untilAcknowledged(t, w, 200)
	w.Stop()
	verify(t, f, w)
}

func TestOptionsThatCannotWork(t *testing.T) {
	for name, opt := range map[string]fleet.Options{
		"no program":        {Binary: "/does/not/exist"},
		"more than members": {Binary: "/bin/true", Members: 2, Sync: 2},
		"no members":        {Binary: "/bin/true", Members: -1},
		"it only ends":      {Binary: "/bin/true"},
	} {
		if _, err := fleet.Start(within(t), opt); err == nil {
			t.Errorf("%s: started", name)
		}
	}
}
