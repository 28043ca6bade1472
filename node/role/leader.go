package role

import (
	"context"
	"errors"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/peer"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// maxSeal bounds the payload of one record, in bytes, unless a single entry is larger.
const maxSeal = 1 << 20

// leaderState is what a leadership needs beside the protocol; role goroutine only.
type leaderState struct {
	epoch replication.Epoch
	// open: the sequencer takes writes.
	open bool
	// writeTimeout is how long writes may wait for voters; 0: nobody said so.
	writeTimeout time.Duration
	// unsealed was taken from the sequencer when the volume had no room for it in the log, or while the file for it is made; it comes next.
	unsealed  batch
	preparing bool // see readyFor
	// clockTold: it was said in the log how far leader time is ahead, and it still is.
	clockTold bool
	streams   map[string]*stream    // by follower
	restDue   bool                  // see ship
	seeds     map[string]*seedOrder // by follower
}

// batch is what Take gave, and may be kept until the next Take.
type batch struct {
	first    replication.Position
	count    int
	payload  []byte
	prepared bool // the log has made room for it, as far as it could
}

// stream is one follower's connection.
type stream struct {
	to   replication.Voter
	pub  *peer.Stream
	done chan struct{}
}

var (
	errDeposed   = errors.New("this member no longer leads")
	errLeaseLost = errors.New("the Lease could not be renewed in time")
	errLogFailed = errors.New("the log takes no more entries")
)

// lead starts a leadership that the core has just entered; asking twice for one epoch changes nothing.
func (m *Member) lead(req wire.PromoteRequest) {
	if m.leader != nil && m.leader.epoch == req.Epoch {
		return
	}
	m.endLeadership(errDeposed)
	m.leader = &leaderState{epoch: req.Epoch, streams: map[string]*stream{}, seeds: map[string]*seedOrder{}}
	m.opt.Log.Info("leading", "epoch", req.Epoch, "position", req.Start.Position)
	m.holdLease(time.Duration(req.LeaseDurationMillis) * time.Millisecond)
	m.leader.writeTimeout = time.Duration(req.SyncTimeoutMillis) * time.Millisecond
	m.writesMayWait(m.leader.writeTimeout)
}

// writesMayWait tells who serves clients how long the leader's writes may wait; 0: it is not known.
func (m *Member) writesMayWait(d time.Duration) {
	if d > 0 && m.opt.WriteTimeout != nil {
		m.opt.WriteTimeout(d)
	}
}

func (m *Member) holdLease(d time.Duration) {
	if m.opt.Lease == nil || d <= 0 {
		return
	}
	m.opt.Lease.Hold(m.leader.epoch, d, func(e replication.Epoch) {
		// Not waiting for its turn: the role goroutine may be waiting for this callback, in Release.
		m.works.Background(func() error { return nil }, func(error) { m.deposed(e) })
	})
}

// deposed acts on a record that names a later epoch: this leader was deposed while it could not be reached. Promising that
// epoch is what it would have answered.
func (m *Member) deposed(e replication.Epoch) {
	if m.leader != nil && e > m.leader.epoch {
		_, err := m.core.Fence(e, m.opt.Now())
		_ = m.final(err)
	}
}

// followLeadership ends what the core's role no longer allows, and starts what it asks for.
func (m *Member) followLeadership() {
	p := m.core.Promises()
	if m.leader != nil && (m.core.Role() != replication.RoleLeader || p.Epoch != m.leader.epoch) {
		m.endLeadership(errDeposed)
	}
	want := target{epoch: p.Epoch, leader: p.Leader, address: p.Address}
	if m.core.Role() != replication.RoleFollower {
		want = target{}
	}
	m.connect(want)
}

// endLeadership fails waiting writes as "outcome unknown" and lets go of followers, clients and the Lease.
func (m *Member) endLeadership(why error) {
	if m.leader == nil {
		return
	}
	m.opt.Log.Info("no longer leading", "epoch", m.leader.epoch, "reason", why.Error())
	if m.hold != nil {
		m.hold.stop()
		m.hold = nil
	}
	m.writable.Store(false)     // first: nobody may be sent to a closed sequencer
	m.readUntil.Store(0)        // as the member ends, nothing is published any more
	m.Contents().Seq.Close(why) // what the hold kept back is refused, so its outcome is known
	for _, s := range m.leader.streams {
		close(s.done)
	}
	for _, name := range inOrder(m.leader.seeds) {
		m.leader.seeds[name].end()
	}
	m.leader = nil
	if m.opt.Lease != nil {
		m.opt.Lease.Release()
	}
	m.opt.CutClients(why.Error())
}

// openOrClose lets the sequencer take writes exactly while they may be acknowledged: the barrier is committed,
// everything before is applied (the sequencer evaluates commands on applied state), and where nothing but the Lease
// protects (k = 0), it is held. A leader that loses it resigns: it needs a new epoch.
func (m *Member) openOrClose(now time.Time, c *Contents) {
	l := m.leader
	if l == nil {
		return
	}
	may := m.core.Writable() && m.protected(now)
	switch {
	case l.open && !may:
		m.core.Resign()
		m.endLeadership(errLeaseLost)
	case !l.open && may && c.State.Applied().Position == c.Log.Last().Position:
		if m.final(c.Seq.Open(l.epoch, c.Log.Last().Position+1)) != nil {
			return
		}
		l.open = true
		m.opt.Log.Info("accepting writes", "epoch", l.epoch, "position", c.Log.Last().Position)
	}
}

// clockAhead is how far leader time may be ahead of this machine's clock without a word.
const clockAhead = time.Minute

// compareClocks tells in the log when leader time is far ahead of this machine's clock: an earlier leader's was ahead, or this one's was, and
// is set back. It is told once for each time.
func (m *Member) compareClocks() {
	ahead, leads := m.TimeAhead()
	if !leads || m.leader == nil {
		return
	}
	if ahead > clockAhead && !m.leader.clockTold {
		m.opt.Log.Info("leader time is ahead of this machine's clock: that of a leader was ahead, or this one's is behind; keys expire by leader "+
			"time, which goes on until the clock has caught up: what is given a time on the calendar (EXAT, EXPIREAT) expires that much early",
			"ahead", ahead.String())
	}
	m.leader.clockTold = ahead > clockAhead
}

// TimeAhead is by how much leader time is ahead of this machine's clock; false where this member does not lead, or not yet. Called from
// anywhere.
func (m *Member) TimeAhead() (time.Duration, bool) {
	if !m.Open() {
		return 0, false
	}
	wall := m.opt.Wall() // first: leader time is never behind it
	return time.Duration(m.Contents().Seq.Now()-wall) * time.Millisecond, true
}

// protected reports whether no other leader can have been promoted: by the voters' promises where k >= 1, by the Lease
// where k = 0.
func (m *Member) protected(now time.Time) bool {
	if m.opt.Lease == nil {
		return true
	}
	rules, _ := m.core.Rules()
	for _, rule := range rules {
		if rule.K == 0 {
			return m.opt.Lease.Valid(now)
		}
	}
	return true
}

// Seal makes one record of what the sequencer has queued, after what an earlier one could not append for want of room.
func (m *Member) Seal() {
	b := &m.leader.unsealed
	if b.count > 0 && !m.seal(b) {
		return
	}
	if b.first, b.count, b.payload = m.Contents().Seq.Take(maxSeal); b.count > 0 {
		m.seal(b)
	}
}

// seal appends b as one record and tells whether that is done. Where the volume has no room for it, it is kept: nothing of it
// is in the log, and nothing may come before it.
func (m *Member) seal(b *batch) bool {
	if !m.readyFor(b) {
		return false
	}
	// Leader time is read after Take, so no entry was evaluated later than its record says.
	err := m.core.Extend(b.first, b.count, b.payload, m.Contents().Seq.Now())
	if m.noRoomFor(err) {
		b.prepared = false
		return false
	}
	*b = batch{}
	if m.final(err) != nil {
		m.core.Resign() // what was taken is not in the log, so nothing can come after it until the process ends
		m.endLeadership(errLogFailed)
	}
	return err == nil
}

// readyFor tells whether the log takes b without having the role's turn wait for the disk. If it does not, it is made ready beside the turn,
// and b is sealed then.
func (m *Member) readyFor(b *batch) bool {
	log, l, size := m.Contents().Log, m.leader, len(b.payload)+replication.HeaderSize
	if b.prepared || log.Takes(size) {
		return true
	}
	l.preparing = true
	m.works.Background(func() error {
		m.prepare(log, size)
		return nil
	}, func(error) { l.preparing, l.unsealed.prepared = false, true })
	return false
}

// Unsealed reports whether Seal has a batch to begin with that the log was made ready for. Only where MaySeal does.
func (m *Member) Unsealed() bool { return m.leader.unsealed.count > 0 && m.leader.unsealed.prepared }

// Hello implements peer.Leader.
func (m *Member) Hello(ctx context.Context, h replication.Hello) (reply replication.HelloReply, s *peer.Stream, err error) {
	err = m.works.Do(ctx, func() {
		if !h.Fetch && m.Hung() >= diskPatience { // it sends no heartbeats, and is not to be heard by an answer either
			reply = replication.HelloReply{Verdict: replication.VerdictRefuse, Message: "this leader's disk hangs"}
			return
		}
		reply = m.core.OnHello(h, m.opt.Now())
		if reply.Verdict == replication.VerdictStream && !h.NoSeed && !m.readableAfter(h.Last.Position) && m.pastDamage() {
			h.Seed = true // a stream would end where it begins, as the one before
			reply = m.core.OnHello(h, m.opt.Now())
		}
		reply.ClientPort = m.opt.Client
		if m.leader != nil {
			reply.WriteTimeoutMillis = m.leader.writeTimeout.Milliseconds()
		}
		m.detach(h.Member)
		switch {
		case reply.Verdict == replication.VerdictStream:
			s = m.attach(h)
		case reply.Verdict != replication.VerdictSeed || h.Fetch:
		case !h.NoSeed:
			differs := reply.Message
			if reply = m.orderSeed(h, m.opt.Now()); reply.Verdict == replication.VerdictSeed {
				reply.Message = differs
			}
		case h.Begun == nil:
			m.forgoSeed(h.Member)
		}
	})
	m.opt.Log.Info("follower said hello", "member", h.Member, "position", h.Last.String(), "verdict", string(reply.Verdict), "message", reply.Message)
	return reply, s, err
}

// detach ends the stream of a follower that the core counts as gone since it said hello. That may have been the follower's last word
// on a connection before this one, and late: its acknowledgements would count for nothing from now on, although it hears this leader
// and has no reason to come again. Now it has one.
func (m *Member) detach(member string) {
	if m.leader == nil {
		return
	}
	if s := m.leader.streams[member]; s != nil && !m.core.Streams(s.to) {
		delete(m.leader.streams, member)
		close(s.done)
	}
}

// attach makes a stream for a follower, ending an older one of the same member.
func (m *Member) attach(h replication.Hello) *peer.Stream {
	if old := m.leader.streams[h.Member]; old != nil {
		close(old.done)
	}
	m.seeded(h, m.opt.Now())
	s := &stream{to: replication.Voter{Member: h.Member, Incarnation: h.Incarnation}, done: make(chan struct{})}
	s.pub = &peer.Stream{
		Epoch: m.leader.epoch, Log: streamLog{m.Contents().Log, m}, Holds: h.Last.Position,
		Wake: make(chan struct{}, 1), Done: s.done,
		Ends: func() (replication.Position, replication.Position) {
			return replication.Position(m.last.Load()), replication.Position(m.commit.Load())
		},
		Clock:   func() time.Duration { return m.opt.Now().Sub(m.start) },
		Hung:    func() bool { return m.Hung() >= diskPatience },
		Deaf:    m.Deaf,
		Version: m.configVersion.Load,
	}
	m.leader.streams[h.Member] = s
	return s.pub
}

// Ack implements peer.Leader.
func (m *Member) Ack(from replication.Voter, a replication.Ack) {
	_ = m.works.Do(context.Background(), func() {
		m.core.OnAck(from, a, m.start.Add(time.Duration(a.Sent)), m.opt.Now())
		m.acked = true
	})
}

// End implements peer.Leader.
func (m *Member) End(from replication.Voter, s *peer.Stream) {
	m.works.Post(func() {
		if m.leader == nil {
			return
		}
		if cur := m.leader.streams[from.Member]; cur != nil && cur.pub == s {
			m.streamEnded(cur)
		}
	})
}

func (m *Member) streamEnded(s *stream) {
	delete(m.leader.streams, s.to.Member)
	m.core.OnStreamEnd(s.to)
	m.acked = true
}

// longSilence is after how long the stream to a follower that says nothing is ended. A kernel tries for a quarter of an hour to reach a
// machine that is gone, and that long its follower would look connected.
const longSilence = 30 * time.Second

// endSilent ends streams to followers that are gone without a word. One that is there after all comes again.
func (m *Member) endSilent(now time.Time) {
	if m.leader == nil || len(m.leader.streams) == 0 {
		return
	}
	followers := m.core.Followers(now)
	for _, name := range inOrder(m.leader.streams) {
		if s, f := m.leader.streams[name], followers[name]; f.Live && f.Silent > longSilence {
			m.opt.Log.Info("a follower has said nothing for long; its stream is ended", "member", name, "silent", f.Silent.String())
			m.streamEnded(s)
			close(s.done)
		}
	}
}
