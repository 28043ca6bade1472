package role

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	open    bool
	streams map[string]*stream   // by follower
	seeds   map[string]io.Closer // connections over which followers are sent a snapshot
}

// stream is one follower's connection.
type stream struct {
	pub  *peer.Stream
	done chan struct{}
}

var (
	errDeposed   = errors.New("this member no longer leads")
	errLeaseLost = errors.New("the Lease could not be renewed in time")
	errLogFailed = errors.New("the log takes no more entries")
)

// lead starts a leadership that the core has just entered; asking twice for one epoch changes nothing.
func (r *Runner) lead(req wire.PromoteRequest) {
	if r.leader != nil && r.leader.epoch == req.Epoch {
		return
	}
	r.endLeadership(errDeposed)
	r.leader = &leaderState{epoch: req.Epoch, streams: map[string]*stream{}, seeds: map[string]io.Closer{}}
	r.opt.Log.Info("leading", "epoch", req.Epoch, "position", req.Start.Position)
	r.holdLease(time.Duration(req.LeaseDurationMillis) * time.Millisecond)
	if req.SyncTimeoutMillis > 0 && r.opt.WriteTimeout != nil {
		r.opt.WriteTimeout(time.Duration(req.SyncTimeoutMillis) * time.Millisecond)
	}
}

func (r *Runner) holdLease(d time.Duration) {
	if r.opt.Lease == nil || d <= 0 {
		return
	}
	r.opt.Lease.Hold(r.leader.epoch, d, func(e replication.Epoch) {
		// Not waiting for its turn: the role goroutine may be waiting for this callback, in Release.
		go r.post(func() {
			if r.leader != nil && e > r.leader.epoch {
				// The record names a later epoch: this leader was deposed while it could not be reached. Promising that
				// epoch is what it would have answered.
				_, err := r.core.Fence(e, r.opt.Now())
				_ = r.final(err)
			}
		})
	})
}

// followLeadership ends what the core's role no longer allows, and starts what it asks for.
func (r *Runner) followLeadership(now time.Time) {
	p := r.core.Promises()
	if r.leader != nil && (r.core.Role() != replication.RoleLeader || p.Epoch != r.leader.epoch) {
		r.endLeadership(errDeposed)
	}
	want := dialTarget{epoch: p.Epoch, leader: p.Leader, address: p.Address}
	if r.core.Role() != replication.RoleFollower {
		want = dialTarget{}
	}
	r.dial(want, now)
}

// endLeadership fails waiting writes as "outcome unknown" and lets go of followers, clients and the Lease.
func (r *Runner) endLeadership(why error) {
	if r.leader == nil {
		return
	}
	r.opt.Log.Info("no longer leading", "epoch", r.leader.epoch, "reason", why.Error())
	if r.hold != nil {
		r.hold.timer.Stop()
		r.hold = nil
	}
	r.gen.Load().Seq.Close(why) // what the hold kept back is refused, so its outcome is known
	for _, s := range r.leader.streams {
		close(s.done)
	}
	for _, conn := range r.leader.seeds {
		_ = conn.Close()
	}
	r.leader = nil
	if r.opt.Lease != nil {
		r.opt.Lease.Release()
	}
	r.opt.CutClients(why.Error())
}

// openOrClose lets the sequencer take writes exactly while they may be acknowledged: the barrier is committed,
// everything before is applied (the sequencer evaluates commands on applied state), and where nothing but the Lease
// protects (k = 0), it is held. A leader that loses it resigns: it needs a new epoch.
func (r *Runner) openOrClose(now time.Time, g *Generation) {
	l := r.leader
	if l == nil {
		return
	}
	may := r.core.Writable() && r.protected(now)
	switch {
	case l.open && !may:
		r.core.Resign()
		r.endLeadership(errLeaseLost)
	case !l.open && may && g.Machine.Applied().Position == g.Log.Last().Position:
		if r.final(g.Seq.Open(l.epoch, g.Log.Last().Position+1)) != nil {
			return
		}
		l.open = true
		r.opt.Log.Info("accepting writes", "epoch", l.epoch, "position", g.Log.Last().Position)
	}
}

// protected reports whether no other leader can have been promoted: by the voters' promises where k >= 1, by the Lease
// where k = 0.
func (r *Runner) protected(now time.Time) bool {
	if r.opt.Lease == nil {
		return true
	}
	rules, _ := r.core.Rules()
	for _, rule := range rules {
		if rule.K == 0 {
			return r.opt.Lease.Valid(now)
		}
	}
	return true
}

// seal makes one record of what the sequencer has queued.
func (r *Runner) seal() {
	seq := r.gen.Load().Seq
	first, count, payload := seq.Take(maxSeal)
	if count == 0 {
		return
	}
	// Leader time is read after Take, so no entry was evaluated later than its record says.
	if r.final(r.core.Extend(first, count, payload, seq.Now())) != nil {
		r.core.Resign() // what was taken is not in the log, so nothing can come after it until the process ends
		r.endLeadership(errLogFailed)
	}
}

// Hello implements peer.Leader.
func (r *Runner) Hello(ctx context.Context, h replication.Hello) (reply replication.HelloReply, s *peer.Stream, err error) {
	err = r.do(ctx, func() {
		reply = r.core.OnHello(h, r.opt.Now())
		if reply.Verdict == replication.VerdictStream {
			s = r.attach(h)
		}
	})
	r.opt.Log.Info("follower said hello", "member", h.Member, "position", h.Last.String(), "verdict", string(reply.Verdict), "message", reply.Message)
	return reply, s, err
}

// attach makes a stream for a follower, ending an older one of the same member.
func (r *Runner) attach(h replication.Hello) *peer.Stream {
	if old := r.leader.streams[h.Member]; old != nil {
		close(old.done)
	}
	s := &stream{done: make(chan struct{})}
	s.pub = &peer.Stream{
		Epoch: r.leader.epoch, Log: r.gen.Load().Log, Holds: h.Last.Position,
		Wake: make(chan struct{}, 1), Done: s.done,
		Ends: func() (replication.Position, replication.Position) {
			return replication.Position(r.last.Load()), replication.Position(r.commit.Load())
		},
		Clock: func() time.Duration { return r.opt.Now().Sub(r.start) },
	}
	r.leader.streams[h.Member] = s
	return s.pub
}

// Ack implements peer.Leader.
func (r *Runner) Ack(from replication.Voter, a replication.Ack) {
	r.post(func() {
		r.core.OnAck(from, a, r.start.Add(time.Duration(a.Sent)), r.opt.Now())
		r.acks.signal()
	})
}

// End implements peer.Leader.
func (r *Runner) End(from replication.Voter, s *peer.Stream) {
	r.post(func() {
		if r.leader == nil {
			return
		}
		if cur := r.leader.streams[from.Member]; cur != nil && cur.pub == s {
			delete(r.leader.streams, from.Member)
			r.core.OnStreamEnd(from)
			r.acks.signal()
		}
	})
}

// Seed implements peer.Leader. It ends with the leadership: what this member holds afterwards need not be what the
// follower's epoch holds. It ends too when the same member asks anew: then the connection before is dead.
func (r *Runner) Seed(ctx context.Context, h replication.Hello, rw io.ReadWriteCloser) error {
	leads := false
	if err := r.do(ctx, func() { leads = r.beginSeed(h, rw) }); err != nil {
		return err
	}
	if !leads {
		return fmt.Errorf("seed %s: %w", h.Member, errDeposed)
	}
	defer r.post(func() { r.endSeed(h, rw) })
	if err := r.seeds.serve(ctx, rw); err != nil {
		return fmt.Errorf("seed %s: %w", h.Member, err)
	}
	return nil
}

func (r *Runner) beginSeed(h replication.Hello, conn io.Closer) bool {
	if r.leader == nil || r.leader.epoch != h.Epoch {
		return false
	}
	if old := r.leader.seeds[h.Member]; old != nil {
		_ = old.Close()
	}
	r.leader.seeds[h.Member] = conn
	return true
}

func (r *Runner) endSeed(h replication.Hello, conn io.Closer) {
	if r.leader != nil && r.leader.seeds[h.Member] == conn {
		delete(r.leader.seeds, h.Member)
		r.core.OnSeedEnd(replication.Voter{Member: h.Member, Incarnation: h.Incarnation})
	}
}

// Acknowledged returns whether p is durable here, and on how many followers it is.
func (r *Runner) Acknowledged(p replication.Position) (local bool, followers int) {
	_ = r.do(context.Background(), func() { local, followers = r.acknowledged(p) })
	return local, followers
}

func (r *Runner) acknowledged(p replication.Position) (local bool, followers int) {
	for _, f := range r.core.Followers(r.opt.Now()) {
		if f.Durable >= p {
			followers++
		}
	}
	return r.core.Log().Durable().Position >= p, followers
}

// WaitAcknowledged waits until p is on that many followers (and durable here, if local is set), ctx ends, or this member
// no longer leads.
func (r *Runner) WaitAcknowledged(ctx context.Context, p replication.Position, local bool, followers int) (bool, int) {
	for {
		next := r.acks.next()
		l, f := r.Acknowledged(p)
		if (f >= followers && (l || !local)) || r.Role() != replication.RoleLeader {
			return l, f
		}
		select {
		case <-next:
		case <-ctx.Done():
			return l, f
		case <-r.done:
			return l, f
		}
	}
}
