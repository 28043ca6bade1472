package wal

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

const childDir = "RSTORE_TEST_WAL_DIR"

// TestMain lets the test binary be the process that TestKill9 kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := appendForever(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
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

// TestKill9 kills a process that appends with signal 9, again and again on one directory: whatever it reported as synced is
// there, and everything that is there is what it wrote.
func TestKill9(t *testing.T) {
	rng := seeded(t)
	dir := t.TempDir()
	var synced replication.Position
	for round := range 12 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childDir+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Duration(50+rng.IntN(250))*time.Millisecond, func() { _ = child.Process.Kill() })
		for lines := bufio.NewScanner(out); lines.Scan(); {
			// The last line may be cut short by the kill; then it is a smaller number, or none.
			if p, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
				synced = max(synced, replication.Position(p))
			}
		}
		_ = child.Wait() // it was killed
		kill.Stop()
		l, rep := mustOpen(t, vfs.Default, dir, Options{Create: true, SegmentBytes: 1 << 20})
		if l.Last().Position < synced {
			t.Fatalf("round %d: the log ends in %v, synced was %d: %+v", round, l.Last(), synced, rep)
		}
		checkEntries(t, l)
		closeLog(t, l)
	}
	if synced < 1000 {
		t.Fatalf("only %d entries were ever synced", synced)
	}
	t.Logf("%d entries synced over 12 kills", synced)
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
