package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/redis/go-redis/v9"
)

const childDir = "RSTORE_TEST_NODE_DIR"

// TestMain lets the test binary be the node that TestKill9 kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		n, err := Start(context.Background(), Options{
			Data: dir, Listen: "127.0.0.1:0", Memory: 16 << 20, LogRetain: 1 << 20, Log: logr.Discard(),
		})
		if err == nil {
			fmt.Println(n.Addr())
			err = n.Wait()
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// counted is what one writer knows of its own keys: the numbers up to sent were written in order, and those up to acked
// were acknowledged.
type counted struct{ sent, acked int }

// killedWriter writes three kinds of data, each under its own keys: a number followed by a long value, an INCR, and two
// keys in one transaction.
type killedWriter struct {
	id          int
	rng         *rand.Rand
	set, incr   counted
	transaction counted
}

func (w *killedWriter) key(kind string) string { return fmt.Sprint(kind, ":", w.id) }

// run writes until the connection breaks.
func (w *killedWriter) run(ctx context.Context, c *redis.Client) {
	filler := strings.Repeat("x", 20_000)
	for {
		var err error
		switch w.rng.IntN(3) {
		case 0:
			w.set.sent++
			if err = c.Set(ctx, w.key("set"), fmt.Sprint(w.set.sent, " ", filler[:w.rng.IntN(len(filler))]), 0).Err(); err == nil {
				w.set.acked = w.set.sent
			}
		case 1:
			w.incr.sent++
			if err = c.Incr(ctx, w.key("incr")).Err(); err == nil {
				w.incr.acked = w.incr.sent
			}
		default:
			w.transaction.sent++
			_, err = c.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.Set(ctx, w.key("one"), w.transaction.sent, 0)
				p.Set(ctx, w.key("two"), w.transaction.sent, 0)
				return nil
			})
			if err == nil {
				w.transaction.acked = w.transaction.sent
			}
		}
		if err != nil {
			return
		}
	}
}

// mayComeLater reports whether a read that ended with err says nothing of the data: the node was not ready, or too slow.
func mayComeLater(err error) bool {
	var late net.Error
	return err != nil && (strings.HasPrefix(err.Error(), "LOADING") || errors.As(err, &late) && late.Timeout())
}

// verify reads everything back: nothing acknowledged is missing, nothing is there that was not sent, and no transaction
// is there by half. The next round starts from what it finds.
func (w *killedWriter) verify(ctx context.Context, c *redis.Client) error {
	read := func(kind string, k *counted) error {
		text, err := c.Get(ctx, w.key(kind)).Result()
		for end := time.Now().Add(time.Minute); mayComeLater(err) && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			text, err = c.Get(ctx, w.key(kind)).Result()
		}
		if errors.Is(err, redis.Nil) {
			text, err = "0", nil
		}
		if err != nil {
			return err
		}
		var n int
		if _, err := fmt.Sscan(text, &n); err != nil {
			return fmt.Errorf("%s is %.20q: %w", w.key(kind), text, err)
		}
		if n < k.acked || n > k.sent {
			return fmt.Errorf("%s is %d; acknowledged were %d, sent %d", w.key(kind), n, k.acked, k.sent)
		}
		*k = counted{n, n}
		return nil
	}
	one, two := w.transaction, w.transaction
	err := errors.Join(read("set", &w.set), read("incr", &w.incr), read("one", &one), read("two", &two))
	if err == nil && one != two {
		err = fmt.Errorf("half of a transaction: %d and %d", one.acked, two.acked)
	}
	w.transaction = one
	return err
}

// TestKill9 kills a whole node under load, again and again on the same directory, and compares every acknowledged write
// with what the next process serves.
func TestKill9(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	writers := make([]*killedWriter, 8)
	for i := range writers {
		writers[i] = &killedWriter{id: i, rng: rand.New(rand.NewPCG(seed, uint64(i+1)))}
	}
	acked := func() (n int) {
		for _, w := range writers {
			n += w.set.acked + w.incr.acked + w.transaction.acked
		}
		return n
	}
	for round := 0; round < 10 || acked() < 100; round++ { // a slow disk needs more rounds
		child, addr := startChild(t, dir)
		c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, PoolSize: len(writers), ReadTimeout: time.Minute})
		if round > 0 { // at once: no read may be older than what was acknowledged
			for _, w := range writers {
				if err := w.verify(t.Context(), c); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
			}
		}
		awaitWrite(t, c)
		kill := time.AfterFunc(time.Duration(20+rng.IntN(400))*time.Millisecond, func() { _ = child.Process.Kill() })
		var wg sync.WaitGroup
		for _, w := range writers {
			wg.Go(func() { w.run(t.Context(), c) })
		}
		wg.Wait()
		var exit *exec.ExitError
		if err := child.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("round %d: the node ended before it was killed: %v", round, err)
		}
		kill.Stop()
		_ = c.Close()
	}
	t.Logf("%d acknowledged writes, none lost", acked())
}

// awaitWrite waits for the node to take writes.
func awaitWrite(t *testing.T, c *redis.Client) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		err := c.Set(t.Context(), "begin", "now", 0).Err()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no write in 2 min: %v", err)
		}
	}
}

// startChild starts a node in a process of its own on dir and returns its client address.
func startChild(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
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
	t.Cleanup(func() { _ = child.Process.Kill() })
	line, err := bufio.NewReader(io.LimitReader(out, 100)).ReadString('\n')
	if err != nil {
		t.Fatalf("the node does not start: %v, %v", err, child.Wait())
	}
	return child, strings.TrimSpace(line)
}
