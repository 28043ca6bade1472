package remote

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestAskAndAnswer(t *testing.T) {
	requests, ask := io.Pipe()
	hear, replies := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(requests, replies, func(q int) (int, error) {
			if q == 0 {
				return 7, errors.New("nothing was asked")
			}
			return q + 1, nil
		})
	}()
	c := NewClient[int, int]("the far end", hear, ask)
	for _, step := range []struct {
		q, a  int
		fails string
	}{{q: 1, a: 2}, {q: 0, fails: "nothing was asked"}, {q: 5, a: 6}} {
		a, err := c.Ask(step.q)
		if got := message(err); a != step.a || got != step.fails {
			t.Errorf("asked %d: %d, %q", step.q, a, got)
		}
	}
	ask.Close()
	if err := <-ended; err != nil {
		t.Errorf("serve ended with %v", err)
	}
}

// An answer that cannot be read may leave part of it in the pipe, which would be taken for the answer to the next request.
func TestPipesOutOfStepAreNotUsedAgain(t *testing.T) {
	c := NewClient[int, int]("the far end", strings.NewReader("warning: something\n{\"answer\":2}\n"), io.Discard)
	a, first := c.Ask(1)
	if a != 0 || !strings.Contains(message(first), "the far end") {
		t.Errorf("%d, %v", a, first)
	}
	if a, err := c.Ask(2); a != 0 || err == nil || err != first {
		t.Errorf("after that: %d, %v", a, err)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
