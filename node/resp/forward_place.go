package resp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// parking bounds how long a command waits for a leader: Options.Park, but at most Server.lastWait once the server stops.
type parking struct {
	ctx     context.Context
	cancel  context.CancelFunc
	round   *round
	client  context.Context // after the first renew, canceled when the client hangs up
	unwatch context.CancelCauseFunc
}

// errHungUp is the cause that ends the wait of a command whose client has hung up.
var errHungUp = errors.New("the client has closed the connection")

func (r *round) park() *parking {
	p := &parking{round: r, client: r.srv.ctx, unwatch: func(error) {}}
	p.begin()
	return p
}

func (p *parking) begin() {
	s := p.round.srv
	if s.stopping.Load() && p.round.leaderless {
		p.ctx, p.cancel = noPatience, func() {} // an earlier command of the pipeline has waited already
		return
	}
	ctx, cancel := context.WithTimeout(p.client, s.opt.Park)
	stop := context.AfterFunc(s.blockCtx, func() { time.AfterFunc(time.Duration(s.lastWait.Load()), cancel) })
	p.ctx, p.cancel = ctx, func() { stop(); cancel() }
}

// renew restarts the wait, because a leader was reached that did not run the command, and another may soon be known. As
// that may repeat forever, renew also starts to watch whether the client has hung up.
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

// place waits until this member takes writes (here is true), or until the leader's address is known. wait is how long not
// to return that address, because it was tried a moment ago, unless something changes. If forwarded is set, the command
// comes from another member: place then fails at once if this member does not lead, and otherwise only waits until it
// takes writes.
func (s *Server) place(ctx context.Context, forwarded bool, wait time.Duration) (here bool, addr string, err error) {
	pause := time.NewTimer(wait)
	defer pause.Stop()
	for first := true; ; first = false {
		changed := s.backend.Changed() // before looking, so that no change is missed
		leads, leader := s.backend.Place()
		switch {
		case s.backend.Sequencer() != nil:
			return true, "", nil
		case forwarded && !leads:
			return false, "", errNotLeader
		case leader != "" && (!first || wait == 0):
			return false, leader, nil // even while stopping: commands that were read are still answered
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

// errNotOpen is the cause with which a leader refuses a forwarded command once it has waited for as long as a command
// may: it was elected but cannot serve yet.
var errNotOpen = errors.New("the elected leader does not take writes yet")

// refusalIn returns the cause in a NOTLEADER reply if it is errNotOpen, and nil otherwise.
func refusalIn(reply string) error {
	if strings.HasSuffix(reply, errNotOpen.Error()) {
		return errNotOpen
	}
	return nil
}

// unopened reports whether the leader at addr has just refused a command with errNotOpen and is still the known leader.
// It has then already used up the time that a command may wait.
func (r *round) unopened(addr string) bool {
	_, leader := r.srv.backend.Place()
	return leader == addr && errors.Is(r.lastRefusal, errNotOpen)
}

// nowhere answers the job at i, which did not run because no leader was found in time. It returns the index of the next job.
func (r *round) nowhere(i int, cause error) int {
	j := &r.jobs[i]
	if r.conn.forwarded {
		if errors.Is(cause, context.DeadlineExceeded) {
			cause = errNotOpen
		}
		r.answer(j, func() {
			r.refuse(codeNotLeader + " " + formatMark(r.srv.backend.Shown()) + " nothing was run: " + cause.Error())
		})
		r.conn.closing = true
		return i + 1
	}
	text := fmt.Sprintf("%s nothing was written: no leader was reached within %v", codeTryAgain, r.srv.opt.Park)
	switch {
	case errors.Is(cause, errHungUp):
		text = fmt.Sprintf("%s nothing was written: %v", codeTryAgain, cause)
		r.conn.closing = true
	case r.srv.stopping.Load():
		text = codeTryAgain + " nothing was written: no leader was reached before this member stopped"
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

// silence records which leaders did not answer the job that is to be asked next.
type silence struct {
	addr  string // the last of them; "" if there are none
	again bool   // one of them was asked twice in a row
}

// note records that the leader at addr was asked and did not answer.
func (s *silence) note(addr string) { *s = silence{addr, s.again || s.addr == addr} }

// last reports whether it is pointless to ask the leader at addr again: it was the last to be asked, and some leader has
// been asked twice.
func (s *silence) last(addr string) bool { return s.again && s.addr == addr }

// givenUp answers the job at i, a read that the leader has repeatedly left unanswered: its reply may be too long, or take
// too long. It returns the index of the next job.
func (r *round) givenUp(i int) int {
	cause := r.lastRefusal
	r.answer(&r.jobs[i], func() {
		r.reject(fmt.Sprintf("ERR the leader did not answer this command, although it was retried: %v", cause))
	})
	return i + 1
}
