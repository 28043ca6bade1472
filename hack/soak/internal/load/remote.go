package load

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/replicatedstore/replicatedstore/test/remote"
)

// request is a request of a Remote. Exactly one of the pointers is set.
type request struct {
	Start  *Options       `json:"start,omitempty"`
	Stats  *time.Time     `json:"stats,omitempty"`
	Finish *time.Duration `json:"finish,omitempty"` // its time limit
}

type response struct {
	Stats *Stats `json:"stats,omitempty"`
}

// Serve answers requests until in ends. A load that was not finished leaves an incomplete history.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	var l *Load
	return remote.Serve(in, out, func(q request) (a response, err error) {
		l, err = answer(ctx, l, q, &a)
		return a, err
	})
}

func answer(ctx context.Context, l *Load, q request, a *response) (*Load, error) {
	switch {
	case q.Start != nil && l == nil:
		return Start(ctx, *q.Start)
	case q.Start != nil:
		return l, errors.New("the load was started already")
	case l == nil:
		return nil, errors.New("no load was started")
	case q.Finish != nil:
		ctx, cancel := context.WithTimeout(ctx, *q.Finish)
		defer cancel()
		return l, l.Finish(ctx)
	case q.Stats != nil:
		s := l.Stats(*q.Stats)
		a.Stats = &s
		return l, nil
	}
	return l, errors.New("the request asks for nothing")
}

// Remote controls a Load behind Serve. It is safe for concurrent use.
type Remote struct {
	far *remote.Client[request, response]
}

// NewRemote returns a Remote for a Serve that reads what is written to out and answers on in.
func NewRemote(in io.Reader, out io.Writer) *Remote {
	return &Remote{remote.NewClient[request, response]("the load", in, out)}
}

// Start starts a load at the far end.
func (r *Remote) Start(o Options) error {
	_, err := r.far.Ask(request{Start: &o})
	return err
}

// Stats calls Load.Stats at the far end.
func (r *Remote) Stats(since time.Time) (Stats, error) {
	a, err := r.far.Ask(request{Stats: &since})
	if err == nil && a.Stats == nil {
		err = errors.New("the load's answer has no stats")
	}
	if err != nil {
		return Stats{}, err
	}
	return *a.Stats, nil
}

// Finish calls Load.Finish at the far end, bounded by within.
func (r *Remote) Finish(within time.Duration) error {
	_, err := r.far.Ask(request{Finish: &within})
	return err
}
