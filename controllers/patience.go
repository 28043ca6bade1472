package controllers

import (
	"context"
	"errors"
	"time"
)

// For how long the API server is given a write about a child, its turn included. What judges it there may hang, and the store is not
// looked at meanwhile.
const (
	writePatience = 3 * time.Second
	// longPatience is for a kind that was late before: more than the 10 s that the API server by default gives a webhook, for it goes
	// on then where it may do without.
	longPatience = 12 * time.Second
)

// A kind of which a child was late is left alone for firstRest, and twice as long each time, up to lastRest: others go on, and the store
// is looked at.
const (
	firstRest = 5 * time.Second
	lastRest  = time.Minute
)

// lateness is that of a kind of child: how often in a row one was not applied in time, and the newest of these.
type lateness struct {
	times int
	at    time.Time
	err   error
}

// The pause before a member that could not be made is tried again: it doubles with each attempt, up to lastVainRest. What keeps it away,
// as a quota, may go on for days.
const (
	firstVainRest = 100 * time.Millisecond
	lastVainRest  = 30 * time.Second
)

// vain is how often in a row a member could not be made from one spec, when that was last, and why.
type vain struct {
	hash  string // of the spec
	times int
	at    time.Time
	err   error
}

// again is v after one more attempt.
func (v vain) again(hash string, now time.Time, err error) vain {
	if v.hash != hash {
		v.times = 0
	}
	return vain{hash, v.times + 1, now, err}
}

// rests tells whether it is too early for the next attempt. Another spec is tried at once.
func (v vain) rests(hash string, now time.Time) bool {
	rest := lastVainRest
	if v.times < 10 {
		rest = min(rest, firstVainRest<<max(0, v.times-1))
	}
	return v.times > 0 && v.hash == hash && now.Sub(v.at) < rest
}

// patience is how long the next one is waited for.
func (l lateness) patience() time.Duration {
	if l.times < 2 {
		return writePatience
	}
	return longPatience
}

// rests tells whether it is too early for the next one.
func (l lateness) rests(now time.Time) bool {
	rest := lastRest
	if l.times < 5 {
		rest = firstRest << max(0, l.times-1)
	}
	return l.times > 0 && now.Sub(l.at) < rest
}

// late is why no child of a kind is applied now; nil: nothing is in the way. One that was late ends the applying of its pass, and that
// of its kind for a while.
func (p *pass) late(kind string) error {
	if p.tooLate != nil {
		return p.tooLate
	}
	if l := p.lates[kind]; l.rests(p.Clock.Now()) {
		return l.err
	}
	return nil
}

// inTime does a write about a child, and gives it so long. Once one was late, nothing more is applied in the pass.
func (p *pass) inTime(ctx context.Context, patience time.Duration, write func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := write(ctx)
	if err != nil && ctx.Err() != nil {
		p.tooLate = err
	}
	return err
}

// labelling is the kind, for lateness, of what labels pods.
const labelling = "label"

// resting does a write that is not about applying a child, unless one of its kind was late a moment ago.
func (p *pass) resting(kind string, write func() error) error {
	was := p.lates[kind]
	if was.rests(p.Clock.Now()) {
		return was.err
	}
	err := write()
	if delete(p.lates, kind); errors.Is(err, context.DeadlineExceeded) {
		p.lates[kind] = lateness{was.times + 1, p.Clock.Now(), err}
	}
	return err
}
