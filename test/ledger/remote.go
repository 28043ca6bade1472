package ledger

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// A Writer must run where the store's clients run, while its owner may be elsewhere. Serve runs one at the far end of a pair of
// pipes, and Remote is the near end. The protocol is one JSON object per line in each direction, one request at a time.

// request is a request of a Remote. Exactly one of the pointers is set.
type request struct {
	Start  *Options      `json:"start,omitempty"`
	Stats  *time.Time    `json:"stats,omitempty"` // beginning of the window
	Stop   *struct{}     `json:"stop,omitempty"`
	Verify []Member      `json:"verify,omitempty"`
	Within time.Duration `json:"within,omitempty"` // bound on Start and Verify
}

type response struct {
	Error  string  `json:"error,omitempty"`
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
	requests, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var q request
		switch err := requests.Decode(&q); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read a request: %w", err)
		}
		var a response
		var err error
		if q.Start != nil {
			q.Start.Dial = dial
		}
		if w, err = answer(ctx, w, q, &a); err != nil {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return fmt.Errorf("answer a request: %w", err)
		}
	}
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
	mu     sync.Mutex
	out    *json.Encoder
	in     *bufio.Reader
	failed error // final: the pipes are out of step
}

// NewRemote returns a Remote for a Serve that reads what is written to out and answers on in.
func NewRemote(in io.Reader, out io.Writer) *Remote {
	return &Remote{out: json.NewEncoder(out), in: bufio.NewReader(in)}
}

// ask waits for the answer. Only the far end, by Within, or the end of the pipes limits the wait.
func (r *Remote) ask(q request) (response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		return response{}, r.failed
	}
	var a response
	if err := r.out.Encode(q); err != nil {
		r.failed = fmt.Errorf("ask the writer: %w", err)
		return a, r.failed
	}
	line, err := r.in.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err != nil {
		r.failed = fmt.Errorf("hear the writer's answer: %w", err)
		return a, r.failed
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// Start starts the writer at the far end, within the given time.
func (r *Remote) Start(opt Options, within time.Duration) error {
	_, err := r.ask(request{Start: &opt, Within: within})
	return err
}

// Stats calls Writer.Stats at the far end.
func (r *Remote) Stats(since time.Time) (Stats, error) {
	a, err := r.ask(request{Stats: &since})
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
	_, err := r.ask(request{Stop: &struct{}{}})
	return err
}

// Verify calls Writer.Verify at the far end, bounded by within.
func (r *Remote) Verify(members []Member, within time.Duration) (Report, error) {
	if len(members) == 0 {
		return Report{}, errors.New("verify: no members given")
	}
	a, err := r.ask(request{Verify: members, Within: within})
	if err == nil && a.Report == nil {
		err = errors.New("the writer's answer has no report")
	}
	if err != nil {
		return Report{}, err
	}
	return *a.Report, nil
}
