package ledger

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/replicatedstore/replicatedstore/test/remote"
)

// request is a request of a Remote. Exactly one of the pointers is set.
type request struct {
	Start  *Options      `json:"start,omitempty"`
	Stats  *time.Time    `json:"stats,omitempty"` // beginning of the window
	Stop   *struct{}     `json:"stop,omitempty"`
	Verify []Member      `json:"verify,omitempty"`
	Within time.Duration `json:"within,omitempty"` // bound on Start and Verify
}

type response struct {
	Stats  *Stats  `json:"stats,omitempty"`
	Report *Report `json:"report,omitempty"`
}

// Serve answers requests until in ends, then stops the writer. dial makes the writer's connections; nil means TCP.
func Serve(ctx context.Context, in io.Reader, out io.Writer, dial Dial) error {
	var w *Writer
	defer func() {
		if w != nil {
			w.Stop()
		}
	}()
	return remote.Serve(in, out, func(q request) (a response, err error) {
		if q.Start != nil {
			q.Start.Dial = dial
		}
		w, err = answer(ctx, w, q, &a)
		return a, err
	})
}

func answer(ctx context.Context, w *Writer, q request, a *response) (*Writer, error) {
	if q.Within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, q.Within)
		defer cancel()
	}
	switch {
	case q.Start != nil && w != nil:
		return w, errors.New("the writer was started already")
	case q.Start != nil:
		return Start(ctx, *q.Start)
	case w == nil:
		return nil, errors.New("no writer was started")
	case q.Stop != nil:
		w.Stop()
		return w, nil
	case q.Stats != nil:
		s := w.Stats(*q.Stats)
		a.Stats = &s
		return w, nil
	default:
		r, err := w.Verify(ctx, q.Verify)
		a.Report = &r
		return w, err
	}
}

// Remote controls a Writer behind Serve. It is safe for concurrent use. All times are from the far end's clock, which in the demo
// and the end-to-end tests is on the same machine.
type Remote struct {
	far *remote.Client[request, response]
}

// NewRemote returns a Remote for a Serve that reads what is written to out and answers on in.
func NewRemote(in io.Reader, out io.Writer) *Remote {
	return &Remote{remote.NewClient[request, response]("the writer", in, out)}
}

// Start starts the writer at the far end, within the given time.
func (r *Remote) Start(opt Options, within time.Duration) error {
	_, err := r.far.Ask(request{Start: &opt, Within: within})
	return err
}

// Stats calls Writer.Stats at the far end.
func (r *Remote) Stats(since time.Time) (Stats, error) {
	a, err := r.far.Ask(request{Stats: &since})
	if err == nil && a.Stats == nil {
		err = errors.New("the writer's answer has no stats")
	}
	if err != nil {
		return Stats{}, err
	}
	return *a.Stats, nil
}

// Stop calls Writer.Stop at the far end.
func (r *Remote) Stop() error {
	_, err := r.far.Ask(request{Stop: &struct{}{}})
	return err
}

// Verify calls Writer.Verify at the far end, bounded by within.
func (r *Remote) Verify(members []Member, within time.Duration) (Report, error) {
	if len(members) == 0 {
		return Report{}, errors.New("verify: no members given")
	}
	a, err := r.far.Ask(request{Verify: members, Within: within})
	if err == nil && a.Report == nil {
		err = errors.New("the writer's answer has no report")
	}
	if err != nil {
		return Report{}, err
	}
	return *a.Report, nil
}
