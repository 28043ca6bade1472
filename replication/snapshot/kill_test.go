package snapshot

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

const (
	childDir    = "RSTORE_TEST_SEED_DIR"
	childSource = "RSTORE_TEST_SEED_SOURCE"
)

// TestMain lets the test binary act as the member that TestKill9DuringSeed kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Fprintln(os.Stderr, seedForever(dir, os.Getenv(childSource)))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// seedForever receives and installs one snapshot after another, and prints the current generation.
func seedForever(dir, source string) error {
	fs := vfs.Default
	store, err := meta.Open(fs, dir, meta.Options{Store: "orders", Member: "orders-2"})
	if err != nil {
		return err
	}
	for {
		fmt.Println("generation", store.State().Generation)
		if _, err := store.RemoveObsolete(); err != nil {
			return err
		}
		conn, err := net.Dial("tcp", source)
		if err != nil {
			return err
		}
		m, err := Receive(context.Background(), conn, ReceiveOptions{
			FS: fs, Meta: store, Store: "orders", From: "orders-1", Margin: 1, Now: time.Now,
			Progress: func(Progress) { fmt.Println("progress") },
		})
		if err = errors.Join(err, conn.Close()); err != nil {
			return err
		}
		fmt.Println("received")
		if err := Install(fs, store, m, smallLog); err != nil {
			return err
		}
	}
}

// TestKill9DuringSeed kills a member at random while it is being seeded. It must hold its old generation whole, or the new
// one, and the next process must continue from there.
func TestKill9DuringSeed(t *testing.T) {
	rng := seeded(t)
	o := newOrigin(t, rng, 3*ChunkBytes+100, 0, 40_000, 3, ChunkBytes)
	addr := serveOver(t, o)
	found := map[string]int{}
	for range 10 {
		dir := t.TempDir()
		fs := vfs.Default
		last := prepareOld(t, fs, dir)
		said := uint64(1) // the newest generation that the children reported
		for range 3 {
			received := killedSeed(t, rng, dir, addr, &said)
			store, err := meta.Open(fs, dir, meta.Options{Store: "orders", Member: "orders-2"})
			if err != nil {
				t.Fatal(err)
			}
			switch g := store.State().Generation; {
			case g < said || g > said+1:
				t.Fatalf("generation %d is current, the child spoke of %d", g, said)
			case g == 1:
				found["old"]++
				holdsOld(t, fs, store, last)
			default:
				found["new"]++
				o.holds(t, fs, store)
			}
			if st := store.State(); received && st.Seed != nil {
				found["received, not installed"]++
			} else if st.Seed != nil {
				found["within a seed"]++
			}
			said = store.State().Generation
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Log(found)
	if found["old"] == 0 || found["new"] == 0 || found["within a seed"] == 0 {
		t.Fatalf("not every way was taken: %v", found)
	}
}

// serveOver serves o to whoever connects, one after the other: an origin is not made for concurrent use.
func serveOver(t *testing.T, o *origin) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = o.Serve(context.Background(), conn) // the other side is killed now and then
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	return l.Addr().String()
}

// prepareOld makes a member with something to lose.
func prepareOld(t *testing.T, fs vfs.FS, dir string) replication.Mark {
	t.Helper()
	store, err := meta.Open(fs, dir, meta.Options{Store: "orders", Member: "orders-2", Init: func(logDir, _ string) error {
		l, _, err := wal.Open(fs, logDir, wal.Options{Create: true, SegmentBytes: smallLog.SegmentBytes})
		if err != nil {
			return err
		}
		return l.Close()
	}})
	if err != nil {
		t.Fatal(err)
	}
	last := oldState(t, fs, store)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return last
}

// killedSeed runs a child until it is killed, and sets said to the newest generation that it reported. It returns whether
// the last thing the child reported was that a snapshot was received.
func killedSeed(t *testing.T, rng *rand.Rand, dir, addr string, said *uint64) (received bool) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir, childSource+"="+addr)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	// The first half of a seed takes most of the time, so count the child's reports instead of milliseconds.
	left := 1 + rng.IntN(7)
	pause := time.Duration(rng.IntN(3000)) * time.Microsecond
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		received = strings.HasPrefix(line, "received")
		_, _ = fmt.Sscanf(line, "generation %d", said) // the other lines contain no number
		if left--; left == 0 {
			time.AfterFunc(pause, func() { _ = child.Process.Kill() })
		}
	}
	var exit *exec.ExitError
	if err := child.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Fatalf("the child ended before it was killed: %v", err)
	}
	return received
}

// TestPowerLossAtEveryStepOfSeed is TestSeedSurvivesPowerLoss with the power cut before each change of the file system in
// turn, from the first of receiving to the last of installing.
func TestPowerLossAtEveryStepOfSeed(t *testing.T) {
	rng := seeded(t)
	for _, percent := range []int{0, 50, 100} {
		inOld, inNew := 0, 0
		for at := 0; ; at++ {
			o := newOrigin(t, rng, 9000, 0, 3)
			fs := vfs.NewCrashableMem()
			store := openMeta(t, fs)
			last := oldState(t, fs, store)
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			cut := &powerCut{fs: fs, rng: rng, left: at, percent: percent}
			broken := cut.wrap()
			store, err := meta.Open(broken, "data", meta.Options{Store: "orders", Member: "orders-2"})
			if err == nil {
				err = seedOnce(t, o, broken, store)
			}
			if cut.clone == nil {
				if err != nil {
					t.Fatalf("without a cut: %v", err)
				}
				break
			}
			after := openMeta(t, cut.clone)
			if after.State().Generation == 1 {
				inOld++
				holdsOld(t, cut.clone, after, last)
				// And it can still be seeded, at the latest at the second attempt.
				if err = seedOnce(t, o, cut.clone, after); errors.Is(err, ErrCorrupt) {
					err = seedOnce(t, o, cut.clone, after)
				}
				if err != nil {
					t.Fatalf("step %d, %d %%: %v", at, percent, err)
				}
			} else {
				inNew++
			}
			o.holds(t, cut.clone, after)
		}
		t.Logf("%d %%: %d steps leave the old generation, %d the new one", percent, inOld, inNew)
		if inOld < 20 || inNew < 2 {
			t.Fatal("steps are missing")
		}
	}
}
