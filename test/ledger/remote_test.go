package ledger

import (
	"io"
	"testing"
	"time"
)

// far runs Serve behind pipes. It returns the near end, and a function that ends Serve and waits for it.
func far(t *testing.T) (*Remote, func()) {
	t.Helper()
	requestsIn, requestsOut := io.Pipe()
	answersIn, answersOut := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- Serve(t.Context(), requestsIn, answersOut, nil); answersOut.Close() }()
	end := func() {
		requestsOut.Close()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("serve ended with %v", err)
			}
		case <-time.After(2 * time.Minute):
			t.Error("serve does not end with its pipes")
		}
	}
	return NewRemote(answersIn, requestsOut), end
}

func TestAWriterAtADistance(t *testing.T) {
	f := newFake(t)
	r, end := far(t)
	if _, err := r.Stats(time.Time{}); err == nil {
		t.Error("stats of no writer")
	}
	opt := Options{ID: "t", Address: f.address(), Connections: 2, Timeout: time.Minute}
	if err := r.Start(opt, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(opt, time.Minute); err == nil {
		t.Error("started twice")
	}
	for {
		s, err := r.Stats(time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if s.Acknowledged > 100 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	good, err := r.Verify([]Member{{"orders-1", f.address()}}, time.Minute)
	if err != nil || !good.OK() || good.Acknowledged <= 100 {
		t.Fatalf("report %v, error %v", good, err)
	}
	f.mu.Lock()
	clear(f.data)
	f.mu.Unlock()
	bad, err := r.Verify([]Member{{"orders-1", f.address()}}, time.Minute)
	if err != nil || bad.Lost != bad.Acknowledged || len(bad.First) != firstLosses {
		t.Fatalf("report of an emptied store %v, error %v", bad, err)
	}
	end()
	if _, err := r.Stats(time.Time{}); err == nil {
		t.Error("stats after the end of the pipes")
	}
}

func TestAWriterEndsWithItsOwner(t *testing.T) {
	f := newFake(t)
	r, end := far(t)
	if err := r.Start(Options{ID: "t", Address: f.address(), Connections: 2, Timeout: time.Minute}, time.Minute); err != nil {
		t.Fatal(err)
	}
	end()
	f.mu.Lock()
	n := len(f.data)
	f.mu.Unlock()
	time.Sleep(50 * time.Millisecond)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.data) != n {
		t.Error("the writer goes on")
	}
}
