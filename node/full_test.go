package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/redis/go-redis/v9"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/volume"
	"github.com/replicatedstore/replicatedstore/replication/volume/volumetest"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// valueBytes is the size of the values that fill a volume.
const valueBytes = 64 << 10

// fill writes incompressible values until a write is refused. It returns how many were acknowledged, and the last refusal
// for lack of room.
func fill(t *testing.T, c *redis.Client, from int) (n int, refusal string) {
	t.Helper()
	value := make([]byte, valueBytes)
	rng := rand.NewChaCha8([32]byte{byte(from)})
	full := ""
	for n = from; n < from+20_000; n++ {
		_, _ = rng.Read(value)
		// Fill what compactions and the log give back, too.
		for refusals := 0; ; refusals++ {
			err := c.Set(t.Context(), fmt.Sprint("key:", n), value, 0).Err()
			if err == nil {
				break
			}
			text := err.Error()
			code, _, _ := strings.Cut(text, " ")
			if code == "STORAGEFULL" {
				full = text
			}
			// A follower may be full before its leader is. Then the outcome of a write is unknown, and the next ones are
			// refused.
			if again := code == "STORAGEFULL" || code == "OUTCOMEUNKNOWN" || code == "NOREPLICAS"; !again {
				return n, text
			}
			if refusals == 30 {
				return n, cmp.Or(full, text)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	t.Fatal("the volume takes everything")
	return 0, ""
}

// takes checks that at least so many further values are accepted as the state machine gives space back, which it does
// seldom if that takes long.
func takes(t *testing.T, c *redis.Client, from, least int) {
	t.Helper()
	next := from
	within(t, 5*time.Minute, fmt.Sprintf("at least %d values after the first %d", least, from), func() error {
		refusal := ""
		if next, refusal = fill(t, c, next); next < from+least {
			return fmt.Errorf("%d, then %s", next-from, refusal)
		}
		return nil
	})
}

// fullClient returns a client that waits for answers longer than a write may take.
func fullClient(t *testing.T, n *Node) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: n.Addr().String(), MaxRetries: -1, PoolSize: 4, ReadTimeout: time.Minute})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// alone runs a standalone node in dir until the test ends.
func alone(t *testing.T, dir string) (*Node, *redis.Client) {
	t.Helper()
	n, err := Start(context.Background(), Options{Data: dir, Listen: "127.0.0.1:0", Memory: 32 << 20, LogRetain: 4 << 20, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	c := fullClient(t, n)
	awaitWrite(t, c)
	reserved(t, n)
	return n, c
}

func reserved(t *testing.T, n *Node) {
	t.Helper()
	soon(t, "the reserve is set aside", func() error {
		if mustStatus(t, n).Disk.ReserveBytes == 0 {
			return errors.New("there is none")
		}
		return nil
	})
}

func mustStatus(t *testing.T, n *Node) wire.Status {
	t.Helper()
	s, err := n.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func soon(t *testing.T, what string, ok func() error) {
	t.Helper()
	within(t, time.Minute, what, ok)
}

func within(t *testing.T, limit time.Duration, what string, ok func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = ok(); err == nil {
			return
		}
	}
	t.Fatalf("not in %v: %s: %v", limit, what, err)
}

// refusesGrowth checks what a leader with a full volume does and does not do. It returns how many values there are then.
func refusesGrowth(t *testing.T, n *Node, c *redis.Client, refusal string, keys int) int {
	t.Helper()
	for _, part := range []string{"STORAGEFULL ", "free of", "spec.storage.size", "DEL"} {
		if !strings.Contains(refusal, part) {
			t.Errorf("refused with %q, which does not say %q", refusal, part)
		}
	}
	for i := range keys {
		if got, err := c.Get(t.Context(), fmt.Sprint("key:", i)).Bytes(); err != nil || len(got) != valueBytes {
			t.Fatalf("read key %d of %d on a full volume: %d bytes, %v", i, keys, len(got), err)
		}
	}
	// A compaction that ends meanwhile gives space back; then the volume is filled once more.
	for tries := 1; ; tries++ {
		err := whileFull(t.Context(), t, n, c)
		if err == nil {
			return keys
		}
		if tries == 5 {
			t.Errorf("on a full volume, %d times: %v", tries, err)
			return keys
		}
		keys, _ = fill(t, c, keys)
	}
}

// whileFull reports what a leader whose volume is full at this moment does wrong.
func whileFull(ctx context.Context, t *testing.T, n *Node, c *redis.Client) (faults error) {
	t.Helper()
	fault := func(format string, args ...any) { faults = errors.Join(faults, fmt.Errorf(format, args...)) }
	s := mustStatus(t, n)
	if !s.Writable || s.Disk.Level != wire.DiskFull || s.Disk.TotalBytes == 0 || s.Disk.ReserveBytes == 0 {
		fault("it leads on and says that its volume is full: %+v", s)
	}
	if err := c.Append(ctx, "key:1", "more").Err(); err == nil || !strings.HasPrefix(err.Error(), "STORAGEFULL") {
		fault("APPEND: %v", err)
	}
	_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Del(ctx, "key:2"); p.Set(ctx, "x", "y", 0); return nil })
	if err == nil || !strings.Contains(err.Error(), "EXECABORT") {
		fault("MULTI with a SET: %v", err)
	}
	// Whether the key exists depends on the tries before.
	if err := c.Del(ctx, "key:0").Err(); err != nil {
		fault("DEL: %v", err)
	}
	if err := c.Expire(ctx, "key:2", time.Hour).Err(); err != nil {
		fault("EXPIRE: %v", err)
	}
	if got := mustStatus(t, n); got.Epoch != s.Epoch || got.Role != replication.RoleLeader {
		t.Errorf("it no longer leads epoch %d: %+v", s.Epoch, got)
	}
	return faults
}

// A leader whose volume is full refuses what adds to the data, serves everything else, and continues by itself once the
// volume has grown.
func TestAFullLeaderGoesOnWhenItsVolumeGrows(t *testing.T) {
	v := volumetest.MountInMemory(t, 96)
	n, c := alone(t, v.Path)
	keys, refusal := fill(t, c, 0)
	if keys < 96<<20/valueBytes/4 {
		t.Errorf("full after %d values", keys)
	}
	keys = refusesGrowth(t, n, c, refusal, keys)
	v.Grow(192)
	soon(t, "writes are taken again", func() error { return c.Set(t.Context(), "again", "x", 0).Err() })
	takes(t, c, keys, keys/2)
}

// Recovery by deleting keys: writes are accepted again once the state machine has given the space back.
func TestAFullLeaderGoesOnWhenKeysAreDeleted(t *testing.T) {
	for _, way := range []string{"DEL", "FLUSHALL"} {
		t.Run(way, func(t *testing.T) {
			v := volumetest.MountInMemory(t, 96)
			n, c := alone(t, v.Path)
			keys, refusal := fill(t, c, 0)
			keys = refusesGrowth(t, n, c, refusal, keys)
			var err error
			if way == "FLUSHALL" {
				err = c.FlushAll(t.Context()).Err()
			}
			for i := 3; i < keys && way == "DEL" && err == nil; i++ {
				if i%3 != 0 {
					err = c.Del(t.Context(), fmt.Sprint("key:", i)).Err()
				}
			}
			if err != nil {
				t.Fatalf("%s on a full volume: %v", way, err)
			}
			soon(t, "writes are taken again", func() error { return c.Set(t.Context(), "again", "x", 0).Err() })
			takes(t, c, keys, keys/3)
		})
	}
}

// Somebody takes the last byte of the volume and the process is killed, again and again. It comes back with everything
// that it acknowledged, leads, serves reads, and accepts writes once the volume has room.
func TestKill9OnAFullVolume(t *testing.T) {
	v := volumetest.Mount(t, 96)
	child, addr := startChild(t, v.Path)
	client := func() *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, ReadTimeout: time.Minute})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	c := client()
	awaitWrite(t, c)
	soon(t, "the reserve is set aside", func() error {
		_, err := os.Stat(filepath.Join(v.Path, volume.Dir, "7"))
		return err
	})
	keys, _ := fill(t, c, 0)
	release := []func(){v.Hog()}
	for round := range 4 {
		// A compaction that ends, or a start that removes what one has left, gives space back; then that is taken, too.
		for tries := 1; c.Set(t.Context(), "more", "x", 0).Err() == nil; tries++ {
			if tries == 50 {
				t.Fatalf("round %d: writes that add to the data are taken with no byte free", round)
			}
			release = append(release, v.Hog())
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait()
		child, addr = startChild(t, v.Path)
		c = client()
		for i := range keys {
			key := fmt.Sprint("key:", i)
			soon(t, "reads are served", func() error {
				got, err := c.Get(t.Context(), key).Bytes()
				if err == nil && len(got) != valueBytes {
					t.Fatalf("round %d: %s has %d bytes", round, key, len(got))
				}
				return err
			})
		}
	}
	if got, err := c.Del(t.Context(), "key:1").Result(); err != nil || got != 1 {
		t.Errorf("DEL with no byte free: %d, %v", got, err)
	}
	for _, f := range release {
		f()
	}
	for i := 2; i < keys; i++ {
		if err := c.Del(t.Context(), fmt.Sprint("key:", i)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	soon(t, "writes are taken again", func() error { return c.Set(t.Context(), "again", "x", 0).Err() })
	_ = child.Process.Kill()
	_ = child.Wait()
}

// volumes runs a cluster whose members each have a volume.
func volumes(t *testing.T, n, k int, mib int64) (*cluster, map[string]*volumetest.Volume) {
	c := &cluster{t: t, k: k, nodes: map[string]*Node{}, dirs: map[string]string{}, peers: "127.0.0.1:0"}
	vs := map[string]*volumetest.Volume{}
	for i := range n {
		name := fmt.Sprintf("m-%d", i+1)
		vs[name] = volumetest.Mount(t, mib)
		c.dirs[name] = vs[name].Path
		c.start(name)
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			if err := n.Stop(); err != nil {
				t.Errorf("stop %s: %v", n.opt.Member, err)
			}
		}
	})
	for _, n := range c.nodes {
		reserved(t, n)
	}
	return c, vs
}

// All volumes of a store fill up at the same time, to the last byte. A failover succeeds anyway: full members keep their
// promises, one is promoted, the other follows it, and everything that was acknowledged is there.
func TestFailoverOnFullVolumes(t *testing.T) {
	c, vs := volumes(t, 3, 1, 64)
	leader := c.promote("m-1", "m-2", "m-3")
	cl := fullClient(t, c.nodes[leader])
	keys, refusal := fill(t, cl, 0)
	if !strings.HasPrefix(refusal, "STORAGEFULL") {
		t.Errorf("refused with %q", refusal)
	}
	var release []func()
	for _, v := range vs {
		release = append(release, v.Hog())
	}
	for range 3 {
		before := c.lead
		rest := c.others()
		if err := c.nodes[before].Stop(); err != nil {
			t.Fatalf("stop %s: %v", before, err)
		}
		delete(c.nodes, before)
		leader = c.promote(rest...)
		if leader == before {
			t.Fatal("the same leader")
		}
		r := fullClient(t, c.nodes[leader])
		for i := range keys {
			if got, err := r.Get(t.Context(), fmt.Sprint("key:", i)).Bytes(); err != nil || len(got) != valueBytes {
				t.Fatalf("key %d of %d at the new leader: %d bytes, %v", i, keys, len(got), err)
			}
		}
		c.start(before)
		c.follow(before)
	}
	for _, f := range release {
		f()
	}
	r := fullClient(t, c.nodes[leader])
	soon(t, "all is deleted", func() error { return r.FlushAll(t.Context()).Err() })
	soon(t, "writes are taken again", func() error { return r.Set(t.Context(), "again", "x", 0).Err() })
}

// A follower whose volume is full reports that and keeps running. The leader, which has another voter, does without it.
// It catches up by itself once there is room.
func TestAFullFollowerSaysSoAndComesBack(t *testing.T) {
	c, vs := volumes(t, 3, 1, 64)
	leader := c.promote("m-1", "m-2", "m-3")
	c.eventually("both others follow", func() bool { // one of two is enough to lead
		followers, others := c.status(leader).Followers, c.others()
		return followers[others[0]].Live && followers[others[1]].Live
	})
	full := c.others()[0]
	release := vs[full].Hog()
	cl := fullClient(t, c.nodes[leader])
	value := make([]byte, valueBytes)
	rng := rand.NewChaCha8([32]byte{1})
	for i := range 200 {
		_, _ = rng.Read(value)
		if err := cl.Set(t.Context(), fmt.Sprint("key:", i), value, 0).Err(); err != nil {
			t.Fatalf("write %d with another voter: %v", i, err)
		}
	}
	soon(t, "it says that it is full", func() error {
		if s := mustStatus(t, c.nodes[full]); s.Disk.Level != wire.DiskFull || s.Durable.Position >= mustStatus(t, c.nodes[leader]).Durable.Position {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	release()
	soon(t, "it comes along", func() error {
		if s := mustStatus(t, c.nodes[full]); s.Durable != mustStatus(t, c.nodes[leader]).Durable || s.Disk.Level == wire.DiskFull {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}
