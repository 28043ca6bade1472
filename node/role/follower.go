package role

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/peer"
)

// Dialer opens a connection to a peer port.
type Dialer func(ctx context.Context, address string) (net.Conn, error)

// Redial waits between attempts, from the first to the largest; a leader that comes back is found within the latter.
const (
	redialFirst = 20 * time.Millisecond
	redialMost  = 500 * time.Millisecond
	dialTimeout = time.Second
)

// dialTarget is whom a follower should be connected to; the zero value is nobody.
type dialTarget struct {
	epoch           replication.Epoch
	leader, address string
}

// dialler keeps one connection to its target until it is cancelled. The next one begins when it has ended: two that receive a
// seed side by side would write the same files.
type dialler struct {
	target dialTarget
	cancel context.CancelFunc
	ended  chan struct{}
}

// contact is what a follower knows of its leader; role goroutine only.
type contact struct {
	heardAt time.Time // zero: never in this epoch
	refused bool
}

var errRetargeted = errors.New("the leader or its address changed")

// dial makes the follower's connection go to t.
func (r *Runner) dial(t dialTarget, now time.Time) {
	if r.dialler != nil {
		if r.dialler.target == t {
			return
		}
		r.dialler.cancel()
		r.dialler, r.session = nil, nil
		r.contact = contact{}
	}
	r.leaderAddress.Store(&t.address)
	if t.address == "" {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &dialler{target: t, cancel: cancel, ended: make(chan struct{})}
	before := r.lastDial
	r.dialler, r.lastDial = d, d
	r.opt.Log.Info("following", "epoch", t.epoch, "leader", t.leader, "address", t.address)
	go func() {
		defer close(d.ended)
		before.wait()
		r.keepConnected(ctx, d)
	}()
}

// wait returns once a cancelled dialler does nothing any more; nil: there is none.
func (d *dialler) wait() {
	if d != nil {
		<-d.ended
	}
}

func (r *Runner) keepConnected(ctx context.Context, d *dialler) {
	wait := redialFirst
	for ctx.Err() == nil {
		streamed, err := r.connectOnce(ctx, d)
		if ctx.Err() != nil {
			return
		}
		if streamed {
			wait = redialFirst
		}
		r.opt.Log.V(1).Info("connection to the leader ended", "leader", d.target.leader, "error", fmt.Sprint(err))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, redialMost)
	}
}

// connectOnce runs one connection; streamed tells whether it came as far as receiving the log, or a snapshot as a whole.
func (r *Runner) connectOnce(ctx context.Context, d *dialler) (streamed bool, err error) {
	dctx, cancel := context.WithTimeout(ctx, dialTimeout)
	conn, err := r.opt.Dial(dctx, d.target.address)
	cancel()
	refused := errors.Is(err, syscall.ECONNREFUSED)
	if doErr := r.do(ctx, func() {
		if r.dialler == d {
			r.contact.refused = refused
		}
	}); doErr != nil || err != nil {
		if conn != nil {
			_ = conn.Close()
		}
		return false, err
	}
	s := &session{r: r, d: d, acks: make(chan struct{}, 1)}
	if err := r.do(ctx, func() {
		if r.dialler == d {
			r.session = s
		}
	}); err != nil {
		_ = conn.Close()
		return false, err
	}
	err = peer.Follow(ctx, conn, s)
	r.post(func() {
		if r.session == s {
			r.session = nil
		}
	})
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, io.EOF) {
		r.opt.Log.Info("stream from the leader ended", "leader", d.target.leader, "error", err.Error())
	}
	return s.streamed, err
}

// session is one connection of a follower; it implements peer.Follower.
type session struct {
	r        *Runner
	d        *dialler
	acks     chan struct{} // cap 1
	ack      atomic.Pointer[replication.Ack]
	streamed bool // connection's goroutine only
}

// own runs f in the role goroutine if s is still the current connection.
func (s *session) own(ctx context.Context, f func()) error {
	stale := false
	if err := s.r.do(ctx, func() {
		if stale = s.r.session != s; !stale {
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

func (s *session) Hello(ctx context.Context) (h replication.Hello, err error) {
	ownErr := s.own(ctx, func() {
		if err = s.r.sync.settle(); err == nil {
			_, err = s.r.gen.Load().Log.Sync()
		}
		if s.r.final(err) == nil {
			h = s.r.core.Hello()
		}
	})
	return h, errors.Join(ownErr, err)
}

func (s *session) Reply(ctx context.Context, reply replication.HelloReply) (step replication.Step, err error) {
	ownErr := s.own(ctx, func() {
		var cut uint64
		if reply.Verdict == replication.VerdictCut {
			// What is cut is not read meanwhile, nor waited for afterwards.
			s.r.apply.stop()
			defer func() { s.r.apply = startApplier(s.r.gen.Load(), s.r.fail) }()
		}
		if err = s.r.sync.settle(); err == nil {
			step, cut, err = s.r.core.OnHelloReply(reply)
		}
		if s.r.final(err) != nil {
			return
		}
		if cut > 0 {
			s.r.opt.Log.Info("cut the log; what was cut is in quarantine", "entries", cut, "epoch", reply.Epoch, "position", reply.End)
			s.r.quarantine(cut)
		}
		if step == replication.StepStream {
			s.r.contact.heardAt = s.r.opt.Now()
		}
	})
	s.streamed = s.streamed || step == replication.StepStream
	return step, errors.Join(ownErr, err)
}

func (s *session) Append(ctx context.Context, a replication.Append) (err error) {
	ownErr := s.own(ctx, func() {
		now := s.r.opt.Now()
		if err = s.r.final(s.r.core.OnAppend(a, now)); err != nil {
			return
		}
		s.r.contact.heardAt = now
		if n := len(a.Records); n == 0 {
			s.owe()
		} else {
			s.r.stamp = max(s.r.stamp, a.Records[n-1].UnixMilli)
		}
	})
	return errors.Join(ownErr, err)
}

// owe makes an acknowledgement of what is durable now; role goroutine only.
func (s *session) owe() {
	if !s.r.core.Matched() {
		return
	}
	a := s.r.core.Ack(s.r.gen.Load().Machine.Applied().Position)
	s.ack.Store(&a)
	nudge(s.acks)
}

func (s *session) Acks() <-chan struct{} { return s.acks }
func (s *session) Ack() replication.Ack  { return *s.ack.Load() }

func (s *session) Seed(ctx context.Context, rw io.ReadWriter) error {
	err := s.r.receiveSeed(ctx, s, rw)
	s.streamed = err == nil // a snapshot for which there is no room is not asked for without a pause
	return err
}
