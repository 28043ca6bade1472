package load

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

// request is a request of a Remote. Exactly one of the pointers is set. The protocol is one JSON object per line in each
// direction, one request at a time.
type request struct {
	Start  *Options       `json:"start,omitempty"`
	Stats  *time.Time     `json:"stats,omitempty"`
	Finish *time.Duration `json:"finish,omitempty"` // its time limit
}

type response struct {
	Error string `json:"error,omitempty"`
	Stats *Stats `json:"stats,omitempty"`
}

// Serve answers requests until in ends. A load that was not finished leaves an incomplete history.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	var l *Load
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
		if l, err = answer(ctx, l, q, &a); err != nil {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return fmt.Errorf("answer a request: %w", err)
		}
	}
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
	mu  sync.Mutex
	out *json.Encoder
	in  *bufio.Reader
}

// NewRemote returns a Remote for a Serve that reads what is written to out and answers on in.
func NewRemote(in io.Reader, out io.Writer) *Remote {
	return &Remote{out: json.NewEncoder(out), in: bufio.NewReader(in)}
}

func (r *Remote) ask(q request) (response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var a response
	if err := r.out.Encode(q); err != nil {
		return a, fmt.Errorf("ask the load: %w", err)
	}
	line, err := r.in.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err != nil {
		return a, fmt.Errorf("hear the load's answer: %w", err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// Start starts a load at the far end.
func (r *Remote) Start(o Options) error {
	_, err := r.ask(request{Start: &o})
	return err
}

// Stats calls Load.Stats at the far end.
func (r *Remote) Stats(since time.Time) (Stats, error) {
	a, err := r.ask(request{Stats: &since})
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
	_, err := r.ask(request{Finish: &within})
	return err
}
