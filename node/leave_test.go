package node

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A leader whose pod is being deleted leads until another does, and its clients are answered to the end. Only the
// connection ends, between two commands, and everything that was acknowledged was done exactly once.
func TestLeavingLeaderWaitsToBeRelieved(t *testing.T) {
	c := newCluster(t, 3, 1, patient)
	c.promote("m-1", "m-2", "m-3")
	c.eventually("the heir follows", func() bool { return c.status("m-1").Followers["m-2"].Live })
	old := c.nodes["m-1"]
	old.opt.StopGrace = time.Minute
	var acknowledged [3]atomic.Int64
	ends := make(chan error, len(acknowledged))
	for i := range acknowledged {
		cl := redis.NewClient(&redis.Options{Addr: old.Addr().String(), MaxRetries: -1, DialerRetries: 1, PoolSize: 1, ReadTimeout: time.Minute})
		t.Cleanup(func() { _ = cl.Close() })
		go func() {
			for {
				if err := cl.Incr(context.Background(), fmt.Sprint("count-", i)).Err(); err != nil {
					ends <- err
					return
				}
				acknowledged[i].Add(1)
			}
		}()
	}
	left := make(chan error, 1)
	go func() { left <- old.Leave() }()
	time.Sleep(5 * lookEvery)
	if s := c.status("m-1"); s.Role != wire.RoleLeader || !s.Writable || !s.Leaving {
		t.Fatalf("it gave up before anybody took over, or does not say that it is to go: %+v", s)
	}
	before := acknowledged[0].Load()
	c.handOver("m-2")
	if err := <-left; err != nil {
		t.Fatal(err)
	}
	delete(c.nodes, "m-1")
	if acknowledged[0].Load() == before {
		t.Error("nothing was acknowledged after the handover, while everybody turns elsewhere")
	}
	leader := c.client("m-2")
	for i := range acknowledged {
		if err := <-ends; strings.Contains(err.Error(), "UNKNOWN") || strings.Contains(err.Error(), "TRYAGAIN") {
			t.Errorf("a client was told %v", err)
		}
		key := fmt.Sprint("count-", i)
		if n, err := leader.Get(t.Context(), key).Int64(); err != nil || n != acknowledged[i].Load() {
			t.Errorf("%s is %d (%v), and %d were acknowledged", key, n, err, acknowledged[i].Load())
		}
	}
}

// If nobody could relieve the leader, it does not wait for that.
func TestLeavingLeaderThatNobodyFollows(t *testing.T) {
	c := newCluster(t, 1, 0)
	c.promote("m-1")
	c.nodes["m-1"].opt.StopGrace = time.Hour
	if err := c.nodes["m-1"].Leave(); err != nil {
		t.Fatal(err)
	}
}

// If nobody does relieve the leader, it leaves anyway.
func TestLeavingLeaderIsNotRelieved(t *testing.T) {
	for range 3 { // on a busy machine its follower may seem lost, and then nobody is waited for
		took := leavesUnrelieved(t)
		if took >= time.Second {
			return
		}
		t.Logf("it waited for %v only", took)
	}
	t.Error("it does not wait to be relieved")
}

// leavesUnrelieved returns how long a leader with a follower waits to be relieved.
func leavesUnrelieved(t *testing.T) time.Duration {
	c := newCluster(t, 2, 1)
	c.promote("m-1", "m-2")
	c.eventually("it is followed", func() bool { return c.status("m-1").Followers["m-2"].Live })
	c.nodes["m-1"].opt.StopGrace = 3 * time.Second
	began := time.Now()
	if err := c.nodes["m-1"].Leave(); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}
