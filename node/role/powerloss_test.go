package role

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// cable connects one member with the others. Once it is pulled, nothing that the member does reaches anybody.
type cable struct {
	mu     sync.Mutex // guards what follows
	pulled bool
	conns  []net.Conn
}

func (c *cable) plug(conn net.Conn) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pulled {
		_ = conn.Close()
	}
	c.conns = append(c.conns, conn)
	return conn
}

func (c *cable) pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = true
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

func (c *cable) isPulled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pulled
}

// powered is a cluster with k = 1 whose members lose power. Its rng decides what happens and what a disk keeps; the
// timing varies from run to run.
type powered struct {
	*cluster
	rng    *rand.Rand
	disks  map[string]*vfs.MemFS
	cables map[string]*cable
	next   int // write
	acked  []bool
	count  atomic.Int64
}

// lateSync makes a sync take a moment, as real ones do, so that there is more to lose.
var lateSync = errorfs.InjectorFunc(func(op errorfs.Op) error {
	if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData {
		time.Sleep(2 * time.Millisecond)
	}
	return nil
})

var poweredNames = []string{"a", "b", "c"}

func (p *powered) boot(name string) {
	p.t.Helper()
	line := &cable{}
	p.cables[name] = line
	p.start(name, func(o *Options) {
		o.FS = errorfs.Wrap(p.disks[name], lateSync)
		o.SeedBurst = 100 // every loss of power may cost a snapshot
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := dial(ctx, address)
			if err == nil {
				conn = line.plug(conn)
			}
			return conn, err
		}
	}).through.Store(new(line.plug))
}

// lose cuts the members' power and restores it. A disk keeps what was synced, and some or none of the rest.
func (p *powered) lose(names ...string) {
	p.t.Helper()
	for _, name := range names {
		p.cables[name].pull()
	}
	for _, name := range names {
		kept := []int{0, 0, 30, 70, 100}[p.rng.IntN(5)]
		p.disks[name] = p.disks[name].CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: p.rng})
		p.members[name].end()
		p.boot(name)
	}
}

// elect promotes the member that holds most. One may be left out, as if it were still without power.
func (p *powered) elect(without string) {
	p.t.Helper()
	p.epoch++
	var all []replication.Candidate
	for i, name := range poweredNames {
		if name == without {
			continue
		}
		f, err := p.members[name].Fence(p.t.Context(), wire.FenceRequest{Epoch: p.epoch})
		if err != nil || f.Seeding {
			p.t.Fatalf("%+v, %v", f, err)
		}
		all = append(all, replication.Candidate{Voter: replication.Voter{Member: name, Incarnation: f.Incarnation}, Last: f.Last, Preference: i})
	}
	p.leader = all[replication.Elect(all)].Voter.Member
	rule := replication.Rule{K: 1}
	for _, name := range poweredNames {
		if name != p.leader {
			rule.Voters = append(rule.Voters, replication.Voter{Member: name, Incarnation: p.status(name).Incarnation})
		}
	}
	lead(p.t, p.members[p.leader].Runner, p.epoch, rule)
	p.followAll()
}

func (p *powered) followAll() {
	p.t.Helper()
	for _, name := range poweredNames {
		if name != p.leader {
			p.follow(name)
		}
	}
	until(p.t, p.leader+" takes writes", p.members[p.leader].Open)
}

// write writes to the leader until it has lost its power, or many times. What counts as acknowledged was acknowledged
// before.
func (p *powered) write(leader *member, line *cable, sizes *rand.Rand) {
	type sent struct {
		n      int
		ticket store.Ticket
	}
	var all []sent
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	seq := leader.Generation().Seq
	for range 8 {
		for range 32 {
			value := fmt.Appendf(nil, "%08d", p.next)
			value = append(value, filler[:sizes.IntN(1<<(8+sizes.IntN(9)))]...)
			ticket, err := seq.Run(ctx, func(b *store.Batch) {
				b.Begin().Put(strconv.AppendInt(nil, int64(p.next), 10), store.Value{Type: store.TypeString, Data: value})
				_ = b.End()
			})
			p.acked = append(p.acked, false)
			all = append(all, sent{p.next, ticket})
			p.next++
			if err != nil {
				return
			}
		}
		for _, s := range all {
			if seq.Wait(ctx, s.ticket) != nil || line.isPulled() {
				return
			}
			p.acked[s.n] = true
			p.count.Add(1)
		}
		all = all[:0]
	}
}

// round makes somebody lose power during writes.
func (p *powered) round() {
	p.t.Helper()
	who := [][]string{poweredNames, {p.leader}, {poweredNames[p.rng.IntN(len(poweredNames))]}}[p.rng.IntN(3)]
	before, least := p.count.Load(), p.rng.Int64N(240)
	leader, line, sizes := p.members[p.leader], p.cables[p.leader], rand.New(rand.NewPCG(p.rng.Uint64(), 0))
	var writer sync.WaitGroup
	writer.Go(func() { p.write(leader, line, sizes) })
	until(p.t, "enough is acknowledged", func() bool { return p.count.Load()-before >= least })
	p.lose(who...)
	if slices.Contains(who, p.leader) {
		writer.Wait()
		without := p.leader
		if len(who) > 1 {
			without = poweredNames[p.rng.IntN(len(poweredNames))]
		}
		p.elect(without)
	} else {
		p.followAll()
		writer.Wait()
	}
}

// check waits until all members hold the same, and reports what is missing.
func (p *powered) check() {
	p.t.Helper()
	for _, name := range poweredNames {
		if name != p.leader {
			p.agrees(name)
		}
	}
	of := func(name string, n int) string {
		v, _, err := p.members[name].Generation().Machine.View(0).Get(strconv.AppendInt(nil, int64(n), 10))
		if err != nil {
			p.t.Fatal(err)
		}
		return string(v.Data)
	}
	for n := range p.next {
		want := of(p.leader, n)
		if p.acked[n] && (len(want) < 8 || want[:8] != fmt.Sprintf("%08d", n)) {
			p.t.Errorf("write %d was acknowledged, and is lost", n)
		}
		for _, name := range poweredNames {
			if of(name, n) != want {
				p.t.Errorf("%s has something else of write %d than %s", name, n, p.leader)
			}
		}
	}
	for _, name := range poweredNames {
		select {
		case err := <-p.members[name].Failed():
			p.t.Errorf("%s has ended: %v", name, err)
		default:
		}
	}
}

// Members with their own goroutines, connections, logs and databases lose power at any moment, one or all of them, and
// keep what was acknowledged.
func TestPowerLossKeepsWhatWasAcknowledged(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			p := &powered{cluster: newCluster(t), rng: rand.New(rand.NewPCG(seed, 0)), disks: map[string]*vfs.MemFS{}, cables: map[string]*cable{}}
			for _, name := range poweredNames {
				p.disks[name] = vfs.NewCrashableMem()
				p.boot(name)
			}
			p.elect("")
			for range 6 {
				p.round()
			}
			p.check()
			t.Logf("%d of %d writes acknowledged, epoch %d", p.count.Load(), p.next, p.epoch)
		})
	}
}
