package wal

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

const (
	childDir = "RSTORE_TEST_WAL_DIR"
	childCut = "RSTORE_TEST_WAL_CUT" // set: append and cut; otherwise: append, sync concurrently, and prune
)

// TestMain lets the test binary act as the process that these tests kill.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		run := appendForever
		if os.Getenv(childCut) != "" {
			run = cutForever
		}
		if err := run(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// killedChild runs the test binary as a child with this environment, kills it with SIGKILL at a random time within [least,
// most) after its first line, and passes on what it printed, line by line.
func killedChild(t *testing.T, rng *rand.Rand, least, most time.Duration, line func(string), env ...string) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), env...)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(time.Hour, func() { _ = child.Process.Kill() })
	defer killer.Stop()
	first := true
	for lines := bufio.NewReader(out); ; {
		text, err := lines.ReadString('\n')
		if err != nil {
			break // the kill cut this line off, so it says nothing
		}
		if first {
			killer.Reset(least + time.Duration(rng.Int64N(int64(most-least))))
			first = false
		}
		line(strings.TrimSuffix(text, "\n"))
	}
	var exit *exec.ExitError
	if err := child.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Fatalf("the child ended before it was killed: %v", err)
	}
}

// appendForever appends records of known content, with concurrent syncs, and prints every position that Sync returned.
func appendForever(dir string) error {
	l, _, err := Open(vfs.Default, dir, Options{Create: true, SegmentBytes: 1 << 20, TailBytes: 64 << 10})
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		for {
			m, err := l.Sync()
			if err != nil {
				failed <- err
				return
			}
			fmt.Println(m.Position)
		}
	}()
	for i := 0; ; i++ {
		select {
		case err := <-failed:
			return err
		default:
		}
		last := l.Last()
		r, err := replication.EncodeRecord(replication.Seal{
			Epoch: 1, First: last.Position + 1, Prev: last.Chain,
		}, 1, entryFor(last.Position+1))
		if err != nil {
			return err
		}
		if err := l.Append(r); err != nil {
			return err
		}
		if i%500 == 499 {
			if err := l.Prune(l.PruneBound(4 << 20)); err != nil {
				return err
			}
		}
	}
}

func entryFor(p replication.Position) []byte {
	text := strings.Repeat(strconv.FormatUint(uint64(p), 10)+",", int(p%90)+1)
	text = text[:min(len(text), 120)]
	return append([]byte{byte(len(text))}, text...)
}

// TestKill9 repeatedly kills an appending process with SIGKILL, always on the same directory. Whatever it reported as
// synced must be there, and everything that is there must be what it wrote.
func TestKill9(t *testing.T) {
	rng := seeded(t)
	dir := t.TempDir()
	var synced replication.Position
	most := 250 * time.Millisecond
	for round := 0; round < 12 || synced < 1000; round++ {
		killedChild(t, rng, 10*time.Millisecond, most, func(line string) {
			p, err := strconv.ParseUint(line, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			synced = max(synced, replication.Position(p))
		}, childDir+"="+dir)
		l, rep := mustOpen(t, vfs.Default, dir, Options{Create: true, SegmentBytes: 1 << 20})
		if l.Last().Position < synced {
			t.Fatalf("round %d: the log ends in %v, synced was %d: %+v", round, l.Last(), synced, rep)
		}
		checkEntries(t, l)
		closeLog(t, l)
		if round >= 12 {
			most *= 2 // the disk had no time to sync that much
		}
	}
	t.Logf("%d entries synced", synced)
}

func checkEntries(t *testing.T, l *Log) {
	t.Helper()
	for _, r := range readAll(t, l) {
		for i, e := range r.Entries() {
			if p := r.First + replication.Position(i); string(e) != string(entryFor(p)[1:]) {
				t.Fatalf("entry %d is %q", p, e)
			}
		}
	}
}

// cutForever appends, syncs and cuts at random. It prints "s <end>" after a sync, "c <to> <end>" before a cut and "d" after
// it.
func cutForever(dir string) error {
	l, _, err := Open(vfs.Default, dir, Options{Create: true, SegmentBytes: testSegment, TailBytes: 16 << 10})
	if err != nil {
		return err
	}
	epoch := l.Last().Epoch + 1
	ends := []replication.Position{l.Last().Position}
	for {
		for range 1 + rand.IntN(300) {
			last := l.Last()
			entry := append([]byte{byte(epoch)}, entryFor(last.Position + 1)[1:]...)
			r, err := replication.EncodeRecord(replication.Seal{Epoch: epoch, First: last.Position + 1, Prev: last.Chain},
				1, append([]byte{byte(len(entry))}, entry...))
			if err != nil {
				return err
			}
			if err := l.Append(r); err != nil {
				return err
			}
			ends = append(ends, r.Last())
		}
		if _, err := l.Sync(); err != nil {
			return err
		}
		fmt.Println("s", l.Last().Position)
		n := rand.IntN(len(ends))
		to := ends[n]
		fmt.Println("c", to, l.Last().Position)
		if _, err := l.TruncateAfter(to, "test"); err != nil {
			return err
		}
		fmt.Println("d")
		ends, epoch = ends[:n+1], epoch+1
	}
}

// TestKill9DuringCut kills a process that appends, rolls and cuts. The log must end where the last completed step left it,
// or where the one in progress leads, and whatever was cut must be in quarantine.
func TestKill9DuringCut(t *testing.T) {
	rng := seeded(t)
	dir := t.TempDir()
	cuts, inside := 0, 0
	var synced replication.Position
	most := 60 * time.Millisecond
	for round := 0; round < 20 || cuts < 5; round++ {
		var to, end replication.Position
		cutting, before := false, cuts
		killedChild(t, rng, 0, most, func(line string) {
			switch _, err := fmt.Sscanf(line, "c %d %d", &to, &end); {
			case err == nil:
				cutting = true
			case line == "d":
				cutting, synced = false, to
				cuts++
			default:
				if _, err := fmt.Sscanf(line, "s %d", &synced); err != nil {
					t.Fatalf("line %q: %v", line, err)
				}
			}
		}, childDir+"="+dir, childCut+"=1")
		l, rep := mustOpen(t, vfs.Default, dir, Options{Create: true})
		got := l.Last().Position
		isCut := cutting && got == to
		if got < synced && !isCut {
			t.Fatalf("round %d: the log ends in %v, synced was %d, cutting %v to %d: %+v", round, l.Last(), synced, cutting, to, rep)
		}
		for _, r := range readAll(t, l) {
			for i, e := range r.Entries() {
				if p := r.First + replication.Position(i); e[0] != byte(r.Epoch) || string(e[1:]) != string(entryFor(p)[1:]) {
					t.Fatalf("entry %d of epoch %d is %q", p, r.Epoch, e)
				}
			}
		}
		if isCut && to < end {
			inside++
			checkQuarantined(t, dir, to, end)
		}
		closeLog(t, l)
		synced = got
		if cuts == before {
			most += most / 4 // no cut completed in that time: the disk is slow
		}
	}
	t.Logf("%d cuts ended, %d were killed after their step", cuts, inside)
}

// checkQuarantined fails unless a complete quarantine file holds what was cut after position to up to end.
func checkQuarantined(t *testing.T, dir string, to, end replication.Position) {
	t.Helper()
	files, err := ListQuarantine(vfs.Default, vfs.Default.PathJoin(dir, "quarantine"))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range files {
		if q.Base.Position == to && q.Last.Position == end {
			if recs := readQuarantine(t, vfs.Default, q); recs[0].First == to+1 && recs[len(recs)-1].Mark() == q.Last {
				return
			}
		}
	}
	t.Fatalf("what was cut, %d to %d, is in none of %d quarantine files", to+1, end, len(files))
}
