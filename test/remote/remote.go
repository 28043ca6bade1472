// Package remote asks questions of a process at the far end of a pair of pipes, such as its standard input and output. What writes
// to a store and reads from it must run where the store's clients run, while its owner may be elsewhere. The protocol is one JSON
// object per line in each direction, one request at a time.
package remote

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

type reply[A any] struct {
	Error  string `json:"error,omitempty"`
	Answer A      `json:"answer,omitzero"`
}

// Serve answers requests until in ends. An error of answer goes to the far end and does not end Serve.
func Serve[Q, A any](in io.Reader, out io.Writer, answer func(Q) (A, error)) error {
	requests, replies := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var q Q
		switch err := requests.Decode(&q); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read a request: %w", err)
		}
		var r reply[A]
		var err error
		if r.Answer, err = answer(q); err != nil {
			r = reply[A]{Error: err.Error()}
		}
		if err := replies.Encode(r); err != nil {
			return fmt.Errorf("answer a request: %w", err)
		}
	}
}

// Client asks a Serve. It is safe for concurrent use.
type Client[Q, A any] struct {
	name   string
	mu     sync.Mutex
	out    *json.Encoder
	in     *bufio.Reader
	failed error // final: the pipes are out of step
}

// NewClient returns a Client of a Serve that reads what is written to out and answers on in. Errors call the far end by name.
func NewClient[Q, A any](name string, in io.Reader, out io.Writer) *Client[Q, A] {
	return &Client[Q, A]{name: name, out: json.NewEncoder(out), in: bufio.NewReader(in)}
}

// Ask waits for the answer. Only the far end, or the end of the pipes, limits the wait. Once the pipes have failed, every call
// returns the same error.
func (c *Client[Q, A]) Ask(q Q) (A, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var r reply[A]
	if c.failed != nil {
		return r.Answer, c.failed
	}
	if err := c.out.Encode(q); err != nil {
		c.failed = fmt.Errorf("ask %s: %w", c.name, err)
		return r.Answer, c.failed
	}
	line, err := c.in.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	if err != nil {
		c.failed = fmt.Errorf("hear the answer of %s: %w", c.name, err)
		return r.Answer, c.failed
	}
	if r.Error != "" {
		return r.Answer, errors.New(r.Error)
	}
	return r.Answer, nil
}
