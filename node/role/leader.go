package role

import (
	"context"
	"errors"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/peer"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// maxSeal bounds a record's payload, in bytes. A single larger entry still gets a record of its own.
const maxSeal = 1 << 20

// leaderState is what a leadership needs besides the replication protocol's state; role goroutine only.
type leaderState struct {
	epoch replication.Epoch
	// open is set while the sequencer takes writes.
	open bool
	// writeTimeout is how long writes may wait for voters; 0 if the operator has not set it.
	writeTimeout time.Duration
	// unsealed is a batch that was taken from the sequencer but could not be appended yet: the volume has no room for it,
	// or the log file for it is still being prepared. It is sealed before anything else.
	unsealed  batch
	preparing bool // see readyFor
	// clockTold is set once a warning about leader time being ahead was logged, for as long as it is ahead.
	clockTold bool
	streams   map[string]*stream    // by follower
	restDue   bool                  // see ship
	seeds     map[string]*seedOrder // by follower
}

// batch is a result of Take, kept until the next Take at most.
type batch struct {
	first    replication.Position
	count    int
	payload  []byte
	prepared bool // the log has been prepared for it as far as possible
}

// stream is the leader's side of one follower's connection.
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

// lead starts the leadership that the core has just entered. A repeated call for the same epoch changes nothing.
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

// writesMayWait tells the client side how long the leader's writes may wait; 0 means unknown and is ignored.
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
		// Do not wait for the turn: its holder may be waiting for this callback, in Release.
		m.works.Background(func() error { return nil }, func(error) { m.deposed(e) })
	})
}

// deposed handles an authority record that names a later epoch: this leader was deposed while nobody could reach it. It
// promises that epoch, as it would have done had the operator's Fence arrived.
func (m *Member) deposed(e replication.Epoch) {
	if m.leader != nil && e > m.leader.epoch {
		_, err := m.core.Fence(e, m.opt.Now())
		_ = m.final(err)
	}
}

// followLeadership ends whatever the core's current role no longer permits, and starts what it requires.
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

// endLeadership fails waiting writes with "outcome unknown" and releases followers, clients and the Lease.
func (m *Member) endLeadership(why error) {
	if m.leader == nil {
		return
	}
	m.opt.Log.Info("no longer leading", "epoch", m.leader.epoch, "reason", why.Error())
	if m.hold != nil {
		m.hold.stop()
		m.hold = nil
	}
	m.writable.Store(false)     // first: nobody may be directed to a closed sequencer
	m.readUntil.Store(0)        // publish does not run again if the member is ending
	m.Contents().Seq.Close(why) // writes that the hold kept back are refused, so their outcome is known
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

// openOrClose opens the sequencer for writes exactly while they may be acknowledged: the epoch's barrier is committed,
// everything before it is applied (the sequencer evaluates commands on applied state), and, where only the Lease protects
// (k = 0), the Lease is held. A leader that loses this protection resigns and needs a new epoch.
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

// clockAhead is how far leader time may be ahead of this machine's clock before that is logged.
const clockAhead = time.Minute

// compareClocks logs when leader time is far ahead of this machine's clock: either an earlier leader's clock was ahead,
// or this machine's was set back. It logs once per occurrence.
func (m *Member) compareClocks() {
	ahead, leads := m.TimeAhead()
	if !leads || m.leader == nil {
		return
	}
	if ahead > clockAhead && !m.leader.clockTold {
		m.opt.Log.Info("leader time is ahead of this machine's clock: an earlier leader's clock was ahead, or this one's is behind; until the clock has caught "+
			"up, keys with an absolute expiry (EXAT, EXPIREAT) expire early by that much",
			"ahead", ahead.String())
	}
	m.leader.clockTold = ahead > clockAhead
}

// TimeAhead returns how far leader time is ahead of this machine's clock. It returns false if this member does not lead
// or does not take writes yet. It may be called by any goroutine.
func (m *Member) TimeAhead() (time.Duration, bool) {
	if !m.Open() {
		return 0, false
	}
	wall := m.opt.Wall() // first: leader time is never behind it
	return time.Duration(m.Contents().Seq.Now()-wall) * time.Millisecond, true
}

// protected reports whether no other leader can have been promoted: the voters' promises ensure that where k >= 1, the
// Lease where k = 0.
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

// Seal makes one record of what the sequencer has queued. A batch that could not be appended before goes first.
func (m *Member) Seal() {
	b := &m.leader.unsealed
	if b.count > 0 && !m.seal(b) {
		return
	}
	if b.first, b.count, b.payload = m.Contents().Seq.Take(maxSeal); b.count > 0 {
		m.seal(b)
	}
}

// seal appends b as one record and reports whether it did. If the volume has no room, b is kept: none of it is in the
// log, and nothing may be appended before it.
func (m *Member) seal(b *batch) bool {
	if !m.readyFor(b) {
		return false
	}
	// Leader time is read after Take, so no entry was evaluated at a later time than its record carries.
	err := m.core.Extend(b.first, b.count, b.payload, m.Contents().Seq.Now())
	if m.noRoomFor(err) {
		b.prepared = false
		return false
	}
	*b = batch{}
	if m.final(err) != nil {
		m.core.Resign() // what was taken is not in the log, so nothing may follow it until the process ends
		m.endLeadership(errLogFailed)
	}
	return err == nil
}

// readyFor reports whether the log can take b without waiting for the disk in the role's turn. If not, the log is
// prepared in the background, and b is sealed after that.
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

// Unsealed reports whether Seal would begin with a kept batch that the log is prepared for. Call it only while MaySeal.
func (m *Member) Unsealed() bool { return m.leader.unsealed.count > 0 && m.leader.unsealed.prepared }

// Hello implements peer.Leader.
func (m *Member) Hello(ctx context.Context, h replication.Hello) (reply replication.HelloReply, s *peer.Stream, err error) {
	err = m.works.Do(ctx, func() {
		if !h.Fetch && m.Hung() >= diskPatience { // it sends no heartbeats, so an answer must not make it look alive either
			reply = replication.HelloReply{Verdict: replication.VerdictRefuse, Message: "this leader's disk hangs"}
			return
		}
		reply = m.core.OnHello(h, m.opt.Now())
		if reply.Verdict == replication.VerdictStream && !h.NoSeed && !m.readableAfter(h.Last.Position) && m.pastDamage() {
			h.Seed = true // a stream would fail at its start, as the previous one did
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
	m.opt.Log.Info("follower connected", "member", h.Member, "position", h.Last.String(), "verdict", string(reply.Verdict), "message", reply.Message)
	return reply, s, err
}

// detach ends a follower's stream if a late hello made the core count that follower as gone. The hello may have been the
// last one sent on an older connection and have arrived after the stream had begun. From then on the follower's
// acknowledgements would count for nothing, although it hears this leader and has no reason to reconnect. Ending the
// stream makes it reconnect.
func (m *Member) detach(member string) {
	if m.leader == nil {
		return
	}
	if s := m.leader.streams[member]; s != nil && !m.core.Streams(s.to) {
		delete(m.leader.streams, member)
		close(s.done)
	}
}

// attach creates a stream for a follower and ends an older one of the same member.
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

// longSilence is how long a follower may be silent before its stream is ended. A kernel keeps trying for a quarter of an
// hour to reach a machine that is gone, and the follower would look connected all that time.
const longSilence = 30 * time.Second

// endSilent ends the streams of followers that vanished without closing them. One that is alive after all reconnects.
func (m *Member) endSilent(now time.Time) {
	if m.leader == nil || len(m.leader.streams) == 0 {
		return
	}
	followers := m.core.Followers(now)
	for _, name := range inOrder(m.leader.streams) {
		if s, f := m.leader.streams[name], followers[name]; f.Live && f.Silent > longSilence {
			m.opt.Log.Info("ended the stream of a follower that has been silent for too long", "member", name, "silent", f.Silent.String())
			m.streamEnded(s)
			close(s.done)
		}
	}
}
