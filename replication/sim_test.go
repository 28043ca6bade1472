package replication_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	. "github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/peer"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "run this one seed")
	simSeeds = flag.Int("sim.seeds", 300, "how many seeds to run")
)

// TestReplicaSimulation runs the real Replica and Sender of every member, and an operator that follows the protocol page,
// under random message delays, broken connections, crashes with lost unsynced writes, and operators that stop anywhere.
//
// After every step: one leader in an epoch; what was acknowledged once is in the log of every later writable leader; two
// members never disagree about a committed position.
func TestReplicaSimulation(t *testing.T) {
	if *simSeed != 0 {
		simulate(t, *simSeed)
		return
	}
	var acked, epochs, cuts int
	for seed := range uint64(*simSeeds) {
		w := simulate(t, seed+1)
		if t.Failed() {
			return
		}
		acked, epochs, cuts = acked+len(w.acked), epochs+len(w.leaders), cuts+w.cuts
	}
	t.Logf("%d seeds: %d acknowledged positions, %d leaderships, %d logs cut back", *simSeeds, acked, epochs, cuts)
	if *simSeeds >= 100 && (acked == 0 || epochs < *simSeeds || cuts == 0) {
		t.Fatal("the simulation no longer reaches what it is for")
	}
}

func simulate(t *testing.T, seed uint64) (w *world) {
	w = newWorld(seed)
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("seed %d, step %d: %v\nreproduce: go test ./replication -run TestReplicaSimulation -sim.seed=%d\nlast events:\n%s", seed, w.steps, p, seed, w.tail())
		}
	}()
	for range 3000 {
		w.step()
	}
	w.calm()
	return w
}

type member struct {
	name    string
	voter   Voter
	log     *simLog
	stable  *simStable
	rep     *Replica // nil while down
	applied []uint32 // checksum of every applied entry, by position-1
	conn    *conn    // as a follower
}

type conn struct {
	from, to   *member
	epoch      Epoch
	sender     *peer.Sender
	up, down   []any // queues: follower to leader, leader to follower
	waitsReply bool
}

// record is the authority record.
type record struct {
	epoch   Epoch
	phase   string // Fencing, Promoting, Stable
	leader  Voter
	version uint64
	rules   []Rule
	binding []Leadership
	start   Mark
}

type world struct {
	rng     *rand.Rand
	now     time.Time
	steps   int
	members []*member
	k       int
	rec     record
	fenced  map[Voter]FenceAnswer // what the running operator has collected for rec.epoch
	acked   map[Position]uint32   // every acknowledged entry
	leaders map[Epoch]string
	next    uint64 // distinct payloads
	events  []string
	cuts    int
	quiet   bool // no faults any more
}

func newWorld(seed uint64) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(0, 0), fenced: map[Voter]FenceAnswer{},
		acked: map[Position]uint32{}, leaders: map[Epoch]string{},
	}
	n := 3 + w.rng.IntN(3)
	w.k = 1 + w.rng.IntN(n-1)
	for i := range n {
		name := fmt.Sprintf("m%d", i+1)
		m := &member{name: name, voter: Voter{Member: name, Incarnation: "i"}, log: &simLog{}, stable: &simStable{}}
		w.members = append(w.members, m)
		w.start(m)
	}
	w.rec = record{epoch: 1, phase: "Fencing", rules: []Rule{{K: w.k}}}
	return w
}

func (w *world) logf(format string, args ...any) {
	w.events = append(w.events, fmt.Sprintf("%5d ", w.steps)+fmt.Sprintf(format, args...))
}

func (w *world) tail() (s string) {
	for _, e := range w.events[max(0, len(w.events)-60):] {
		s += e + "\n"
	}
	return s
}

func (w *world) start(m *member) {
	m.conn = nil
	rep, err := NewReplica(ReplicaOptions{Store: "s", Self: m.voter}, m.log, m.stable, m.stable.p, Position(len(m.applied)), w.now)
	if err != nil {
		panic(err)
	}
	m.rep = rep
}

func (w *world) find(name string) *member {
	i := slices.IndexFunc(w.members, func(m *member) bool { return m.name == name })
	return w.members[i]
}

func (w *world) step() {
	w.steps++
	w.now = w.now.Add(time.Duration(w.rng.IntN(20)) * time.Millisecond)
	m := w.members[w.rng.IntN(len(w.members))]
	switch p := w.rng.IntN(1000); {
	case p < 6:
		w.crash(m)
	case p < 40:
		if m.rep == nil {
			w.logf("%s restarts at %v", m.name, m.log.Last())
			w.start(m)
		}
	case p < 55:
		w.breakConn(m)
	case p < 250:
		w.operate()
	case p < 262:
		w.operatorDies()
	case p < 400:
		w.propose(m)
	case p < 550:
		w.sync(m)
	case p < 600:
		if m.rep != nil {
			m.rep.Tick(w.now)
		}
	default:
		w.network(m)
	}
	w.check()
}

// calm ends all faults and checks that the store comes back: the liveness of the protocol.
func (w *world) calm() {
	w.quiet = true
	for _, m := range w.members {
		if m.rep == nil {
			w.start(m)
		}
	}
	for range 20000 {
		w.steps++
		w.now = w.now.Add(5 * time.Millisecond)
		m := w.members[w.rng.IntN(len(w.members))]
		w.operate()
		w.sync(m)
		m.rep.Tick(w.now)
		w.network(m)
		w.check()
		if l := w.leader(); l != nil && w.rec.phase == "Stable" && l.rep.Writable() && len(w.rec.rules) == 1 && len(w.rec.rules[0].Voters) == len(w.members)-1 {
			return
		}
	}
	panic(fmt.Sprintf("no writable leader with all voters after the faults ended: record %+.400v", w.rec))
}

func (w *world) crash(m *member) {
	if m.rep == nil {
		return
	}
	before := m.log.Last()
	m.rep, m.conn = nil, nil
	m.log.crash(w.rng)
	m.applied = m.applied[:min(len(m.applied), w.rng.IntN(len(m.applied)+1)+len(m.applied)/2)]
	for _, o := range w.members {
		if o.conn != nil && o.conn.to == m {
			o.conn = nil
		}
	}
	w.logf("%s crashes at %v, keeps %v", m.name, before, m.log.Last())
}

func (w *world) breakConn(m *member) {
	if m.conn != nil && m.conn.to.rep != nil {
		m.conn.to.rep.OnStreamEnd(m.voter)
	}
	m.conn = nil
}

func (w *world) propose(m *member) {
	if m.rep == nil || !m.rep.Writable() {
		return
	}
	w.next++
	payload := binary.AppendUvarint(nil, 8)
	payload = binary.LittleEndian.AppendUint64(payload, w.next)
	if err := m.rep.Extend(m.log.Last().Position+1, 1, payload, w.now.UnixMilli()); err != nil {
		panic(err)
	}
}

func (w *world) sync(m *member) {
	if m.rep == nil || m.log.durable == len(m.log.recs) {
		return
	}
	m.log.durable += 1 + w.rng.IntN(len(m.log.recs)-m.log.durable)
	m.rep.OnDurable(w.now)
	if m.conn != nil && m.rep.Matched() {
		m.conn.up = append(m.conn.up, m.rep.Ack(Position(len(m.applied))))
	}
}

// network moves one message of m's connection as a follower, or opens one.
func (w *world) network(m *member) {
	if m.rep == nil || m.rep.Role() != RoleFollower {
		m.conn = nil
		return
	}
	p := m.rep.Promises()
	if m.conn != nil && (m.conn.epoch != p.Epoch || m.conn.to.name != p.Leader) {
		w.breakConn(m)
	}
	if m.conn == nil {
		to := w.find(p.Leader)
		if to.rep == nil {
			return
		}
		m.conn = &conn{from: m, to: to, epoch: p.Epoch}
		_, _ = m.log.Sync()
		m.conn.up = append(m.conn.up, m.rep.Hello())
		return
	}
	c := m.conn
	switch w.rng.IntN(3) {
	case 0:
		if len(c.up) > 0 {
			msg := c.up[0]
			c.up = c.up[1:]
			w.toLeader(c, msg)
		}
	case 1:
		if len(c.down) > 0 {
			msg := c.down[0]
			c.down = c.down[1:]
			w.toFollower(c, msg)
		}
	case 2:
		if c.sender != nil && c.to.rep.Role() == RoleLeader && c.to.rep.Promises().Epoch == c.epoch {
			a, due, err := c.sender.Next(c.to.log.Last().Position, c.to.rep.Commit(), w.now.Sub(time.Unix(0, 0)))
			if err != nil {
				panic(err)
			}
			if due {
				a.Records = slices.Clone(a.Records)
				c.down = append(c.down, a)
			}
		}
	}
}

func (w *world) toLeader(c *conn, msg any) {
	switch msg := msg.(type) {
	case Hello:
		reply := c.to.rep.OnHello(msg, w.now)
		if reply.Verdict == VerdictStream {
			c.sender = peer.NewSender(c.to.log, c.epoch, msg.Last.Position, 100*time.Millisecond)
		}
		c.down = append(c.down, reply)
	case Ack:
		c.to.rep.OnAck(c.from.voter, msg, time.Unix(0, msg.Sent), w.now)
	}
}

func (w *world) toFollower(c *conn, msg any) {
	m := c.from
	switch msg := msg.(type) {
	case HelloReply:
		step, cut, err := m.rep.OnHelloReply(msg)
		if err != nil {
			panic(err)
		}
		if cut > 0 {
			w.cuts++
			w.logf("%s cuts %d entries to %v", m.name, cut, m.log.Last())
		}
		switch step {
		case StepAgain:
			c.up = append(c.up, m.rep.Hello())
		case StepSeed:
			panic(fmt.Sprintf("%s must be seeded although nothing is ever pruned and k >= 1: commit %d", m.name, m.rep.Commit()))
		case StepLeave:
			m.conn = nil
		case StepStream:
		}
	case Append:
		if err := m.rep.OnAppend(msg, w.now); err != nil {
			panic(fmt.Sprintf("%s: %v", m.name, err))
		}
		if len(msg.Records) == 0 {
			c.up = append(c.up, m.rep.Ack(Position(len(m.applied))))
		}
	}
}

// check applies what is committed and durable, and asserts the invariants.
func (w *world) check() {
	for _, m := range w.members {
		if m.rep == nil {
			continue
		}
		if m.rep.Role() == RoleLeader {
			e := m.rep.Promises().Epoch
			if other := w.leaders[e]; other != "" && other != m.name {
				panic(fmt.Sprintf("epoch %d is led by %s and by %s", e, other, m.name))
			}
			w.leaders[e] = m.name
		}
		commit := min(m.rep.Commit(), m.log.Durable().Position)
		for p := Position(len(m.applied)) + 1; p <= commit; p++ {
			sum := m.sumAt(p)
			if was, ok := w.acked[p]; ok && was != sum {
				panic(fmt.Sprintf("%s commits other content at %d than was acknowledged", m.name, p))
			}
			m.applied = append(m.applied, sum)
			if m.rep.Writable() {
				w.acked[p] = sum
			}
		}
		if m.rep.Writable() && len(m.applied) < len(w.acked) && w.newest(m) {
			panic(fmt.Sprintf("%s leads epoch %d, is writable at %d, and lacks acknowledged position %d", m.name, m.rep.Promises().Epoch, len(m.applied), len(w.acked)))
		}
	}
}

// newest reports whether no other member leads a later epoch.
func (w *world) newest(m *member) bool {
	for e := range w.leaders {
		if e > m.rep.Promises().Epoch {
			return false
		}
	}
	return true
}

func (m *member) sumAt(p Position) uint32 {
	for i := range m.log.recs {
		if r := &m.log.recs[i]; r.First <= p && p <= r.Last() {
			return uint32(r.Chain)
		}
	}
	panic(fmt.Sprintf("%s has no position %d", m.name, p))
}

func (w *world) leader() *member {
	if w.rec.leader.Member == "" {
		return nil
	}
	if m := w.find(w.rec.leader.Member); m.rep != nil && m.rep.Role() == RoleLeader && m.rep.Promises().Epoch == w.rec.epoch {
		return m
	}
	return nil
}
