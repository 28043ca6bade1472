package controllers

import (
	"context"
	"errors"
	"time"
)

// How long the API server gets for a write about a child, including the wait for a turn. A webhook that judges the write may
// hang, and the store is not looked at meanwhile.
const (
	writePatience = 3 * time.Second
	// longPatience is for a kind that was late before. It exceeds the 10 s that the API server gives a webhook by default,
	// because after that the API server goes on without the webhook if it may.
	longPatience = 12 * time.Second
)

// If a child is late, its kind is left alone for firstRest, and twice as long each further time, up to lastRest. Meanwhile
// other kinds are applied and the store is looked at.
const (
	firstRest = 5 * time.Second
	lastRest  = time.Minute
)

// lateness describes one kind of child: how often in a row a child was not applied in time, and the latest such failure.
type lateness struct {
	times int
	at    time.Time
	err   error
}

// patience returns how long to wait for the next write.
func (l lateness) patience() time.Duration {
	if l.times < 2 {
		return writePatience
	}
	return longPatience
}

// rests reports whether it is too early for the next write.
func (l lateness) rests(now time.Time) bool {
	rest := lastRest
	if l.times < 5 {
		rest = firstRest << max(0, l.times-1)
	}
	return l.times > 0 && now.Sub(l.at) < rest
}

// late says why no child of a kind is applied now; nil if nothing is in the way. A late write ends all applying in its pass,
// and that of its kind for a while.
func (p *pass) late(kind string) error {
	if p.tooLate != nil {
		return p.tooLate
	}
	if l := p.lates[kind]; l.rests(p.Clock.Now()) {
		return l.err
	}
	return nil
}

// inTime runs a write about a child with a time limit. Once a write was late, nothing more is applied in the pass.
func (p *pass) inTime(ctx context.Context, patience time.Duration, write func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := write(ctx)
	if err != nil && ctx.Err() != nil {
		p.tooLate = err
	}
	return err
}

// labelling is the kind that lateness records for the labelling of pods.
const labelling = "label"

// resting runs a write that does not apply a child, unless one of its kind was late a moment ago.
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
