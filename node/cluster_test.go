package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/redis/go-redis/v9"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// cluster is a few real nodes on loopback ports, controlled by the test like an operator would.
type cluster struct {
	t     *testing.T
	k     int
	nodes map[string]*Node
	dirs  map[string]string
	epoch replication.Epoch
	lead  string
	rules []replication.Rule
	ver   uint64
	peers string // where peer ports listen
	more  []func(*Options)
}

func newCluster(t *testing.T, n, k int, more ...func(*Options)) *cluster {
	c := &cluster{t: t, k: k, nodes: map[string]*Node{}, dirs: map[string]string{}, peers: "127.0.0.1:0", more: more}
	_ = t.TempDir()    // the first one makes sure that all are removed after the nodes have stopped
	t.Cleanup(func() { // what a node still does in the background for a moment must not disturb that
		for _, dir := range c.dirs {
			for end := time.Now().Add(time.Minute); os.RemoveAll(dir) != nil && time.Now().Before(end); {
				time.Sleep(10 * time.Millisecond)
			}
		}
	})
	for i := range n {
		name := fmt.Sprintf("m-%d", i+1)
		c.dirs[name] = t.TempDir()
		c.start(name)
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			if err := n.Stop(); err != nil {
				t.Errorf("stop %s: %v", n.opt.Member, err)
			}
		}
	})
	return c
}

func (c *cluster) start(name string) *Node {
	c.t.Helper()
	o := Options{
		Data: c.dirs[name], Listen: "127.0.0.1:0", PeerListen: c.peers, ControlListen: "127.0.0.1:0",
		Managed: true, Store: "s", Member: name, Memory: 32 << 20, LogRetain: 4 << 20, Log: logr.Discard(),
		// On a busy, shared disk a write takes long, and a change of leader longer.
		WriteTimeout: 20 * time.Second, park: 20 * time.Second,
	}
	for _, f := range c.more {
		f(&o)
	}
	n, err := Start(context.Background(), o)
	if err != nil {
		c.t.Fatalf("start %s: %v", name, err)
	}
	c.nodes[name] = n
	return n
}

func (c *cluster) status(name string) wire.Status {
	c.t.Helper()
	s, err := c.nodes[name].Status(c.t.Context())
	if err != nil {
		c.t.Fatalf("status of %s: %v", name, err)
	}
	return s
}

// patient makes members wait for the last replies of a former leader for as long as a busy machine may take to give them.
func patient(o *Options) { o.lastMoment = 20 * time.Second }

// promote runs one failover among the named members and promotes the best of them.
func (c *cluster) promote(names ...string) string {
	c.t.Helper()
	c.epoch++
	var best wire.FenceReply
	var others []replication.Voter
	for _, n := range names {
		f, err := c.nodes[n].Fence(c.t.Context(), wire.FenceRequest{Epoch: c.epoch})
		if err != nil {
			c.t.Fatalf("fence %s: %v", n, err)
		}
		v := replication.Voter{Member: f.Member, Incarnation: f.Incarnation}
		if best.Member == "" || f.Last.Compare(best.Last) > 0 {
			if best.Member != "" {
				others = append(others, replication.Voter{Member: best.Member, Incarnation: best.Incarnation})
			}
			best = f
		} else {
			others = append(others, v)
		}
	}
	c.lead, c.ver = best.Member, c.ver+1
	c.rules = []replication.Rule{{Voters: others, K: c.k}}
	if err := c.nodes[c.lead].Promote(c.t.Context(), wire.PromoteRequest{
		Epoch: c.epoch, ConfigVersion: c.ver, Rules: c.rules, Start: best.Last,
	}); err != nil {
		c.t.Fatalf("promote %s: %v", c.lead, err)
	}
	for _, n := range names {
		if n != c.lead {
			c.follow(n)
		}
	}
	c.eventually("the leader accepts writes", func() bool { return c.status(c.lead).Writable })
	return c.lead
}

func (c *cluster) follow(name string) {
	c.t.Helper()
	if err := c.nodes[name].Follow(c.t.Context(), wire.FollowRequest{
		Epoch: c.epoch, Leader: c.lead, Address: net.JoinHostPort("127.0.0.1", strconv.Itoa(c.nodes[c.lead].PeerAddr().(*net.TCPAddr).Port)),
	}); err != nil {
		c.t.Fatalf("%s follows %s: %v", name, c.lead, err)
	}
}

func (c *cluster) eventually(what string, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			for name := range c.nodes {
				c.t.Logf("%s: %+v", name, c.status(name))
			}
			c.t.Fatalf("not in 2 min: %s", what)
		}
	}
}

func (c *cluster) client(name string) *redis.Client {
	cl := redis.NewClient(&redis.Options{Addr: c.nodes[name].Addr().String(), MaxRetries: -1, PoolSize: 4, ReadTimeout: time.Minute})
	c.t.Cleanup(func() { _ = cl.Close() })
	return cl
}

// others returns all members except the leader.
func (c *cluster) others() (names []string) {
	for n := range c.nodes {
		if n != c.lead {
			names = append(names, n)
		}
	}
	return names
}

func TestAcknowledgedWritesSurviveTheirLeader(t *testing.T) {
	c := newCluster(t, 3, 1)
	c.promote("m-1", "m-2", "m-3")
	for round := range 4 {
		old := c.lead
		var acked []string
		writer := c.client(old)
		for try := 0; len(acked) == 0; try++ { // a busy disk may take longer for the first write
			if try == 100 {
				t.Fatal("nothing was acknowledged")
			}
			acked = c.load(writer, fmt.Sprintf("round%d-%d", round, try), 200*time.Millisecond)
		}
		survivors := c.others()
		if err := c.nodes[old].Stop(); err != nil {
			t.Fatal(err)
		}
		delete(c.nodes, old)
		c.promote(survivors...)
		leader := c.client(c.lead)
		for _, key := range acked {
			if _, err := leader.Get(t.Context(), key).Result(); err != nil {
				t.Fatalf("round %d: acknowledged %s on the new leader %s: %v", round, key, c.lead, err)
			}
		}
		c.start(old)
		c.follow(old)
		c.eventually(old+" has everything", func() bool {
			l := c.status(c.lead)
			return c.status(old).Applied == l.Last.Position && c.status(old).Last == l.Last
		})
		voters := append(c.rules[0].Voters, replication.Voter{Member: old, Incarnation: c.status(old).Incarnation})
		c.ver++
		c.rules = []replication.Rule{{Voters: voters, K: c.k}}
		if err := c.nodes[c.lead].Configure(t.Context(), wire.ConfigureRequest{Epoch: c.epoch, Version: c.ver, Rules: c.rules}); err != nil {
			t.Fatal(err)
		}
	}
}

// load writes distinct keys over several connections for d and returns the acknowledged ones.
func (c *cluster) load(cl *redis.Client, prefix string, d time.Duration) (acked []string) {
	ctx, cancel := context.WithTimeout(c.t.Context(), d)
	defer cancel()
	var mu sync.Mutex
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				key := prefix + ":" + strconv.FormatInt(next.Add(1), 10)
				if cl.Set(context.WithoutCancel(ctx), key, "v", 0).Err() == nil {
					mu.Lock()
					acked = append(acked, key)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return acked
}

func TestWritesWaitForTheirVoter(t *testing.T) {
	c := newCluster(t, 2, 1, func(o *Options) { o.WriteTimeout = 3 * time.Second })
	c.promote("m-1", "m-2")
	cl := c.client(c.lead)
	c.eventually("writes are acknowledged", func() bool { return cl.Set(t.Context(), "a", "1", 0).Err() == nil })
	follower := c.others()[0]
	if err := c.nodes[follower].Stop(); err != nil {
		t.Fatal(err)
	}
	delete(c.nodes, follower)
	err := cl.Set(t.Context(), "b", "2", 0).Err()
	if err == nil {
		t.Fatal("a write was acknowledged without its voter")
	}
	t.Logf("without its voter a write ends with: %v", err)
	refused := ""
	c.eventually("writes are refused that could only end like that", func() bool {
		refused += "x"
		err := cl.Set(t.Context(), refused, "2", 0).Err()
		return err != nil && strings.HasPrefix(err.Error(), "NOREPLICAS nothing was written")
	})
	if v, err := cl.Get(t.Context(), "a").Result(); v != "1" || err != nil {
		t.Fatalf("a = %q, %v", v, err)
	}
	c.start(follower)
	c.follow(follower)
	c.eventually("writes are acknowledged again", func() bool { return cl.Set(t.Context(), "c", "3", 0).Err() == nil })
	if n, err := cl.Exists(t.Context(), refused).Result(); n != 0 || err != nil {
		t.Fatalf("%q, which was refused, is there: %v", refused, err)
	}
}

func TestFollowersServeReadsAndForwardWrites(t *testing.T) {
	c := newCluster(t, 2, 1)
	c.promote("m-1", "m-2")
	if err := c.client(c.lead).Set(t.Context(), "a", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	f := c.client(c.others()[0])
	c.eventually("the follower applies it", func() bool { v, _ := f.Get(t.Context(), "a").Result(); return v == "1" })
	if err := f.Set(t.Context(), "a", "2", 0).Err(); err != nil {
		t.Fatalf("write on a follower: %v", err)
	}
	if v, err := c.client(c.lead).Get(t.Context(), "a").Result(); v != "2" {
		t.Fatalf("the leader has %q, %v", v, err)
	}
}

// A client that asks the leader for its followers gets addresses that it can reach: where a follower names none, the one
// that it was heard from.
func TestTheLeaderTellsWhereItsFollowersAre(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", ":0"} {
		c := newCluster(t, 0, 1)
		c.peers = listen
		for _, name := range []string{"m-1", "m-2"} {
			c.dirs[name] = t.TempDir()
			c.start(name)
		}
		c.promote("m-1", "m-2")
		c.eventually("it follows", func() bool { return c.status(c.lead).Followers[c.others()[0]].Live })
		leader := c.client(c.lead)
		var role []any
		var err error
		c.eventually("the leader names its follower", func() bool {
			role, err = leader.Do(t.Context(), "ROLE").Slice()
			return err != nil || len(role) != 3 || fmt.Sprint(role[2]) != "[]"
		})
		if err != nil || len(role) != 3 {
			t.Fatalf("%v, %v", role, err)
		}
		if s := fmt.Sprint(role[2]); !strings.HasPrefix(s, "[[127.0.0.1 ") {
			t.Errorf("peer port at %s: %s", listen, s)
		}
	}
}

func TestAHandoverTellsWhereItsTargetEnds(t *testing.T) {
	c := newCluster(t, 3, 1)
	c.promote("m-1", "m-2", "m-3")
	to := c.others()[0]
	c.eventually(to+" follows", func() bool { return c.status(c.lead).Followers[to].Live }) // one of two is enough to lead
	reply, err := c.nodes[c.lead].Handover(t.Context(), wire.HandoverRequest{Epoch: c.epoch, To: to, HoldMillis: 5000})
	if err != nil {
		t.Fatal(err)
	}
	if s := c.status(to); s.Durable != reply.End {
		t.Fatalf("the target ends at %v, the leader said %v", s.Durable, reply.End)
	}
	old := c.lead
	if got := c.promote(to, old); got != to || c.status(got).Last.Position < reply.End.Position {
		t.Fatalf("promoted %s", got)
	}
}

func TestAHoldEndsByItself(t *testing.T) {
	c := newCluster(t, 2, 1)
	c.promote("m-1", "m-2")
	c.eventually("the other follows", func() bool { return c.status(c.lead).Followers[c.others()[0]].Live })
	began := time.Now()
	const hold = 3 * time.Second
	if _, err := c.nodes[c.lead].Handover(t.Context(), wire.HandoverRequest{Epoch: c.epoch, To: c.others()[0], HoldMillis: hold.Milliseconds()}); err != nil {
		t.Fatal(err)
	}
	if err := c.client(c.lead).Set(t.Context(), "a", "1", 0).Err(); err != nil || time.Since(began) < hold {
		t.Fatalf("write after an abandoned handover: %v, %v after it began", err, time.Since(began))
	}
}

func TestRefusedOrders(t *testing.T) {
	c := newCluster(t, 2, 1)
	c.promote("m-1", "m-2")
	ctx := t.Context()
	for name, err := range map[string]error{
		"an older fence":            second(c.nodes["m-1"].Fence(ctx, wire.FenceRequest{Epoch: 0})),
		"an epoch not promised":     c.nodes[c.others()[0]].Promote(ctx, wire.PromoteRequest{Epoch: 9, Rules: c.rules}),
		"the leader follows itself": c.nodes[c.lead].Follow(ctx, wire.FollowRequest{Epoch: c.epoch, Leader: c.lead, Address: "x:1"}),
		"a second leader":           c.nodes[c.others()[0]].Follow(ctx, wire.FollowRequest{Epoch: c.epoch, Leader: "m-9", Address: "x:1"}),
		"an older configuration":    c.nodes[c.lead].Configure(ctx, wire.ConfigureRequest{Epoch: c.epoch, Version: 0, Rules: c.rules}),
	} {
		if !replication.IsRefusal(err) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Whoever has seen that a write is committed also finds the acknowledgement that committed it, without waiting for the
// role's turn: a WAIT after a write is answered at once.
func TestCommitsAreSeenWithTheirAcknowledgements(t *testing.T) {
	c := newCluster(t, 3, 1)
	run := c.nodes[c.promote("m-1", "m-2", "m-3")].run
	var done atomic.Bool
	var watching sync.WaitGroup
	watching.Go(func() {
		for !done.Load() {
			p := run.Generation().Machine.Applied().Position
			if local, followers := run.Acknowledged(p); !local || followers < 1 {
				t.Errorf("position %d is committed, durable here: %v, on followers: %d", p, local, followers)
				return
			}
		}
	})
	c.load(c.client(c.lead), "key", 500*time.Millisecond)
	done.Store(true)
	watching.Wait()
	cl := c.client(c.lead)
	for i := range 50 { // the second follower is sent records later, unless somebody waits for it
		if err := cl.Set(t.Context(), "a", i, 0).Err(); err != nil {
			t.Fatal(err)
		}
		if n, err := cl.Wait(t.Context(), 2, 20*time.Second).Result(); n != 2 || err != nil {
			t.Fatalf("WAIT 2: %d, %v", n, err)
		}
	}
}
