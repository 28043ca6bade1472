package resp

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// parking bounds for how long a command waits for a leader: while the server stops, for as long only as a client is waited for then.
type parking struct {
	ctx     context.Context
	cancel  context.CancelFunc
	round   *round
	client  context.Context // ends with the client, once that is looked for
	unwatch context.CancelCauseFunc
}

// errHungUp ends the wait of a command whose client is not there any more.
var errHungUp = errors.New("the client has closed the connection")

func (r *round) park() *parking {
	p := &parking{round: r, client: r.srv.ctx, unwatch: func(error) {}}
	p.begin()
	return p
}

func (p *parking) begin() {
	s := p.round.srv
	if s.stopping.Load() && p.round.leaderless {
		p.ctx, p.cancel = noPatience, func() {} // what came before has waited already
		return
	}
	ctx, cancel := context.WithTimeout(p.client, s.opt.Park)
	stop := context.AfterFunc(s.blockCtx, func() { time.AfterFunc(lastWait, cancel) })
	p.ctx, p.cancel = ctx, func() { stop(); cancel() }
}

// renew begins anew, for a leader was there. Since that may happen for ever, the client is looked after from now on.
func (p *parking) renew() {
	p.cancel()
	if s, c := p.round.srv, p.round.conn; p.client == s.ctx {
		ctx, cancel := context.WithCancelCause(s.ctx)
		p.client, p.unwatch = ctx, cancel
		go c.watchHangup(ctx, func() { cancel(errHungUp) })
	}
	p.begin()
}

func (p *parking) end() {
	p.cancel()
	p.unwatch(nil)
}

// place waits until this member takes writes, or it is known which other one does; wait is how long not to look, for it was asked
// just now. For another member's client only the former will do, and only one that leads is waited for.
func (s *Server) place(ctx context.Context, forwarded bool, wait time.Duration) (here bool, addr string, err error) {
	pause := time.NewTimer(wait)
	defer pause.Stop()
	for first := true; ; first = false {
		changed := s.backend.Changed() // before looking: a change in between is seen next time
		leads, leader := s.backend.Place()
		switch {
		case s.backend.Sequencer() != nil:
			return true, "", nil
		case forwarded && !leads:
			return false, "", errNotLeader
		case leader != "" && (!first || wait == 0):
			return false, leader, nil // also while stopping: what was read is still answered
		case ctx.Err() != nil:
			return false, "", context.Cause(ctx)
		}
		select {
		case <-changed:
		case <-pause.C:
		case <-ctx.Done():
			return false, "", context.Cause(ctx)
		}
	}
}

var errNotLeader = errors.New("this member does not lead")

// nowhere answers the job at i, which did not run: no leader was found in time.
func (r *round) nowhere(i int, cause error) int {
	j := &r.jobs[i]
	if r.conn.forwarded {
		r.answer(j, func() { r.refuse(codeNotLeader + " nothing was run: " + cause.Error()) })
		r.conn.closing = true
		return i + 1
	}
	text := fmt.Sprintf("%s nothing was written, no leader was reached within %v", codeTryAgain, r.srv.opt.Park)
	switch {
	case errors.Is(cause, errHungUp):
		text = fmt.Sprintf("%s nothing was written: %v", codeTryAgain, cause)
		r.conn.closing = true
	case r.srv.stopping.Load():
		text = codeTryAgain + " nothing was written, no leader was reached before this member stopped"
	}
	if r.lastRefusal != nil {
		text += ": " + r.lastRefusal.Error()
	}
	r.leaderless = true
	if _, long := r.srv.unheard(); long {
		r.goAstray()
	}
	r.answer(j, func() { r.reject(text) })
	return i + 1
}

// silence is what is known of the leaders that did not answer the job that is asked next.
type silence struct {
	addr  string // the last of them; "": there is none
	again bool   // one was asked twice
}

// note: the leader at addr was asked, and did not answer.
func (s *silence) note(addr string) { *s = silence{addr, s.again || s.addr == addr} }

// last reports whether asking the leader at addr once more would bring nothing: it was, or another one before.
func (s *silence) last(addr string) bool { return s.again && s.addr == addr }

// givenUp answers the job at i, which reads, and which the leader has left unanswered: the reply may be too long for it, or take too long.
func (r *round) givenUp(i int) int {
	cause := r.lastRefusal
	r.answer(&r.jobs[i], func() {
		r.reject(fmt.Sprintf("ERR the leader did not answer this command, and was asked again: %v", cause))
	})
	return i + 1
}
