package node

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// handOver moves the leadership as the operator does in a planned handover.
func (c *cluster) handOver(to string) {
	c.t.Helper()
	c.eventually(to+" follows", func() bool { return c.status(c.lead).Followers[to].Live }) // one of two is enough to lead
	if _, err := c.nodes[c.lead].Handover(c.t.Context(), wire.HandoverRequest{Epoch: c.epoch, To: to, HoldMillis: 10_000}); err != nil {
		c.t.Fatalf("hand over to %s: %v", to, err)
	}
	names := []string{to}
	for n := range c.nodes {
		if n != to {
			names = append(names, n)
		}
	}
	if got := c.promote(names...); got != to {
		c.t.Fatalf("%s leads, not %s", got, to)
	}
}

// Planned handovers under load: connections that were open before see no error, whichever member they are to, and every
// write is done exactly once.
func TestHandoversCostNoClientAnError(t *testing.T) {
	c := newCluster(t, 3, 1, patient)
	c.promote("m-1", "m-2", "m-3")
	var stop atomic.Bool
	var done sync.WaitGroup
	counts := make([]int64, 9)
	for i := range counts {
		cl := redis.NewClient(&redis.Options{
			Addr: c.nodes[fmt.Sprintf("m-%d", i%3+1)].Addr().String(), MaxRetries: -1, PoolSize: 1, ReadTimeout: time.Minute,
		})
		t.Cleanup(func() { _ = cl.Close() })
		key := fmt.Sprint("count-", i)
		done.Go(func() {
			for !stop.Load() {
				n, err := cl.Incr(t.Context(), key).Result()
				if counts[i]++; err != nil || n != counts[i] {
					t.Errorf("increment %d of client %d: %d, %v", counts[i], i, n, err)
					return
				}
				if got, err := cl.Get(t.Context(), key).Int64(); err != nil || got != n {
					t.Errorf("after increment %d client %d reads %d, %v", n, i, got, err)
					return
				}
			}
		})
	}
	for round := range 6 {
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		c.handOver(fmt.Sprintf("m-%d", (round+1)%3+1))
		t.Logf("handover %d took %v", round+1, time.Since(began).Round(time.Millisecond))
	}
	time.Sleep(100 * time.Millisecond)
	stop.Store(true)
	done.Wait()
}

// Followers stay ready for as long as a failover takes: they can still do much, and every change of readiness would delay
// the news of the next leader on its way to clients.
func TestFollowersAreReadyWhileALeaderIsReplaced(t *testing.T) {
	c := newCluster(t, 3, 1)
	c.promote("m-1", "m-2", "m-3")
	c.eventually("the followers are ready", func() bool { return c.nodes["m-2"].Ready() == nil && c.nodes["m-3"].Ready() == nil })
	c.dirs["m-4"] = t.TempDir()
	if c.start("m-4").Ready() == nil {
		t.Fatal("a member that follows nobody is ready")
	}
	follower, stopped := c.nodes["m-2"], make(chan error, 1)
	_ = follower.Ready() // like a periodic probe: the grace counts from the last one that found it following
	go func() { stopped <- c.nodes["m-1"].Stop() }()
	c.eventually("the follower misses its leader", func() bool {
		follows := follower.run.Following()
		if follows {
			_ = follower.Ready()
		}
		return !follows
	})
	if err := follower.Ready(); err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	delete(c.nodes, "m-1")
}

// The leader's process dies. A client connected to a follower gets errors at most for what was under way, and continues
// on the same connection.
func TestForwardingOutlivesALeader(t *testing.T) {
	c := newCluster(t, 3, 1, patient)
	c.promote("m-1", "m-2", "m-3")
	cl := redis.NewClient(&redis.Options{Addr: c.nodes["m-2"].Addr().String(), MaxRetries: -1, PoolSize: 1, ReadTimeout: time.Minute})
	t.Cleanup(func() { _ = cl.Close() })
	if err := cl.Set(t.Context(), "a", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	c.eventually("the followers are level, so that the one named first will lead", func() bool {
		end := c.status("m-1").Last
		return c.status("m-2").Last == end && c.status("m-3").Last == end
	})
	if err := c.nodes["m-1"].Stop(); err != nil {
		t.Fatal(err)
	}
	delete(c.nodes, "m-1")
	got := make(chan error, 1)
	go func() { got <- cl.Incr(t.Context(), "a").Err() }() // waits for the next leader
	if leader := c.promote("m-3", "m-2"); leader != "m-3" {
		t.Fatalf("%s leads: nothing is forwarded", leader)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	if n, err := c.client("m-3").Get(t.Context(), "a").Int(); err != nil || n != 2 {
		t.Fatalf("%d, %v", n, err)
	}
}
