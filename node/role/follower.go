package role

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// target is the leader that a follower should be connected to; the zero value means none.
type target struct {
	epoch           replication.Epoch
	leader, address string
}

// Link is the order to keep a connection to one leader. Its methods are for the connection's goroutine.
type Link struct {
	m      *Member
	target target
}

// contact is what a follower knows of its leader; role goroutine only.
type contact struct {
	heardAt time.Time // zero: never in this epoch
	refused bool
	deaf    bool // it last said that it hears too few voters
}

var errNoRoom = errors.New("the volume has no room for the leader's log")

var errRetargeted = errors.New("the leader or its address changed")

// connect directs the follower's connection to t.
func (m *Member) connect(t target) {
	if m.link != nil && m.link.target == t || m.link == nil && t.address == "" {
		return
	}
	m.link, m.session = nil, nil
	m.contact, m.direct, m.sourceFailures = contact{}, false, 0
	m.stopSending()
	m.leaderAddress.Store(&t.address)
	m.leaderTakesClients("")
	if t.address != "" {
		m.link = &Link{m: m, target: t}
		m.opt.Log.Info("following", "epoch", t.epoch, "leader", t.leader, "address", t.address)
	}
	m.works.Connect(m.link)
}

// leaderTakesClients notes the address at which the leader takes clients.
func (m *Member) leaderTakesClients(address string) {
	m.leaderClient.Store(&address)
	m.opt.LeaderMoved(address)
}

// Address returns the address of the leader's peer port.
func (l *Link) Address() string { return l.target.address }

// Ready is called before every attempt to connect. An error says why not to connect now.
func (l *Link) Ready(ctx context.Context) (err error) {
	doErr := l.m.works.Do(ctx, func() {
		if l.m.space.noRoom {
			err = errNoRoom
		}
	})
	return errors.Join(doErr, err)
}

// Dialled reports how an attempt to connect ended. refused means that the leader's host answered that nothing listens
// there.
func (l *Link) Dialled(ctx context.Context, refused bool) error {
	return l.m.works.Do(ctx, func() {
		if l.m.link == l {
			l.m.contact.refused = refused
		}
	})
}

// Begin starts a session over a new connection, which ends any earlier session.
func (l *Link) Begin(ctx context.Context) (*Session, error) {
	s := &Session{m: l.m, link: l, acks: make(chan struct{}, 1)}
	return s, l.m.works.Do(ctx, func() {
		if l.m.link == l {
			l.m.session = s
		}
	})
}

// Session is one connection of a follower; it implements peer.Follower.
type Session struct {
	m    *Member
	link *Link
	acks chan struct{} // cap 1
	ack  atomic.Pointer[replication.Ack]
	// direct sends ack at once; if nil, acks makes the connection's goroutine send it.
	direct atomic.Pointer[func() bool]
	// For the connection's goroutine only.
	streamed bool
	source   *replication.SeedSource // nil: the leader itself
	noSeed   problem                 // why hello said that no snapshot would be taken; the zero value if it did not say so
}

// End reports that the connection is gone.
func (s *Session) End() {
	s.m.works.Post(func() {
		if s.m.session == s {
			s.m.session = nil
		}
	})
}

// Streamed reports whether the connection got as far as receiving the log, or a whole snapshot.
func (s *Session) Streamed() bool { return s.streamed }

// own runs f in the role goroutine if s is still the current connection.
func (s *Session) own(ctx context.Context, f func()) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	stale := false
	if err := s.m.works.Do(context.Background(), func() { // not ctx, to save time: every record comes through here
		if stale = s.m.session != s; !stale {
			f()
		}
	}); err != nil {
		return err
	}
	if stale {
		return errRetargeted
	}
	return nil
}

// Hello implements peer.Follower.
func (s *Session) Hello(ctx context.Context) (h replication.Hello, err error) {
	drop, kept := s.keepCut(ctx)
	defer drop()
	ownErr := s.own(ctx, func() {
		if err = s.m.settleSync(); err == nil {
			_, err = s.m.Contents().Log.Sync()
		}
		if err == nil && s.m.core.CutDue() != nil {
			err = s.m.finishCut(kept)
		}
		if s.m.final(err) == nil {
			h, s.noSeed = s.m.hello()
		} else {
			s.m.noRoomFor(err)
		}
	})
	return h, errors.Join(ownErr, err)
}

// Reply implements peer.Follower.
func (s *Session) Reply(ctx context.Context, reply replication.HelloReply) (step replication.Step, err error) {
	s.source = reply.Source
	ownErr := s.own(ctx, func() {
		step, err = s.m.replied(reply)
		if (step == replication.StepSeed || step == replication.StepFetch) && s.noSeed != (problem{}) {
			s.m.problem = s.noSeed
			step = replication.StepLeave
		}
		if step == replication.StepRenew {
			err = s.m.renew(reply)
		}
	})
	s.streamed = s.streamed || step == replication.StepStream
	return step, errors.Join(ownErr, err)
}

// replied acts on the leader's answer to hello; role goroutine only.
func (m *Member) replied(reply replication.HelloReply) (step replication.Step, err error) {
	if reply.Verdict == replication.VerdictCut {
		// Keep what is to be cut from being pruned by a round that began earlier.
		defer m.Contents().Log.Pin(1)()
		defer m.keepUncut()
	}
	whole := !m.core.Promises().NeedSeed
	if err = m.settleSync(); err == nil {
		step, err = m.core.OnHelloReply(reply)
	}
	if whole && m.core.Promises().NeedSeed { // entries to be cut were committed
		m.readable.Store(false) // first, so that no new connection is shown it
		m.opt.LostHistory(fmt.Sprintf("data that this member has shown was lost: it is not in the log of the leader of epoch %d", m.core.Promises().Epoch))
	}
	if m.final(err) != nil {
		m.noRoomFor(err)
		return step, err
	}
	if n := m.core.Pruned(); n > 0 && reply.Verdict == replication.VerdictCut && step == replication.StepAgain {
		m.opt.Log.Info("writes that this member had and the leader lacks are in no log: this member had pruned them, and a snapshot replaces the state "+
			"that holds them; what its log still holds is kept in quarantine", "entries", n, "epoch", reply.Epoch, "end", reply.End)
	}
	if step == replication.StepStream {
		m.dropSeed()
		if host, _, err := net.SplitHostPort(m.link.Address()); err == nil && reply.ClientPort > 0 {
			m.leaderTakesClients(net.JoinHostPort(host, strconv.Itoa(reply.ClientPort)))
		}
		m.writesMayWait(time.Duration(reply.WriteTimeoutMillis) * time.Millisecond)
		m.contact.heardAt, m.contact.deaf = m.opt.Now(), false
		m.problem, m.direct, m.sourceFailures = problem{}, false, 0 // whatever held up a seed is over
	}
	return step, nil
}

// Append implements peer.Follower.
func (s *Session) Append(ctx context.Context, a replication.Append) (err error) {
	s.prepare(a.Records)
	ownErr := s.own(ctx, func() {
		now := s.m.opt.Now()
		if err = s.m.final(s.m.core.OnAppend(a, now)); err != nil {
			s.m.noRoomFor(err)
			return
		}
		if s.m.contact.deaf = a.Deaf; !a.Deaf {
			s.m.contact.heardAt = now
		}
		if n := len(a.Records); n == 0 {
			s.owe()
		} else {
			s.m.stamp = max(s.m.stamp, a.Records[n-1].UnixMilli)
		}
	})
	return errors.Join(ownErr, err)
}

// owe makes an acknowledgement of what is durable now; role goroutine only.
func (s *Session) owe() {
	if !s.m.core.Matched() {
		return
	}
	a := s.m.core.Ack(s.m.Contents().State.Applied().Position)
	s.ack.Store(&a)
	if s.direct.Load() != nil {
		s.m.owing = s
	} else {
		nudge(s.acks)
	}
}

// pay sends the acknowledgement that is owed, outside the role goroutine.
func (s *Session) pay() {
	if send := s.direct.Load(); send == nil || !(*send)() {
		nudge(s.acks)
	}
}

// Acks implements peer.Follower.
func (s *Session) Acks() <-chan struct{} { return s.acks }

// Ack implements peer.Follower.
func (s *Session) Ack() replication.Ack { return *s.ack.Load() }

// Direct implements peer.Follower.
func (s *Session) Direct(send func() bool) {
	if send == nil {
		s.direct.Store(nil)
		return
	}
	s.direct.Store(&send)
}
