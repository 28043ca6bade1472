package resp_test

import (
	"context"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// shutdown shuts down the node's server in the background. The channel receives the result.
func shutdown(n *resptest.Node) <-chan error {
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		done <- n.Server.Shutdown(ctx)
	}()
	return done
}

// Shutdown answers what is in progress, closes idle connections, and accepts no new ones.
func TestShutdownIsGraceful(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	busy, idle, waiting := dial(t, n.Addr), dial(t, n.Addr), dial(t, n.Addr)
	idle.do("PING", "+PONG")
	waiting.send("WAIT 5 0")
	n.Stall()
	busy.send("SET a 1", "GET a")
	eventually(t, func() string {
		if !n.InFlight() {
			return "the write does not arrive"
		}
		return ""
	})
	done := shutdown(n)
	idle.closed()
	waiting.expect(":0")
	waiting.closed()
	select {
	case err := <-done:
		t.Fatalf("shutdown returned with a write in flight: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	n.Resume()
	busy.expect("+OK", "$1", "1")
	busy.closed()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Commands that arrived before the shutdown are executed and answered, even if their connection was still busy with earlier ones.
func TestShutdownAnswersWhatHasArrived(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	n.Stall()
	w.send("SET a 1")
	eventually(t, func() string {
		if !n.InFlight() {
			return "the write does not arrive"
		}
		return ""
	})
	w.send("INCR a")
	done := shutdown(n)
	time.Sleep(50 * time.Millisecond)
	n.Resume()
	w.expect("+OK", ":2")
	w.closed()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A client that goes on sending commands learns of the end together with a reply, and not while it may be sending a command: otherwise a write
// was left with an unknown outcome when its leader's pod was replaced. (Found by the end-to-end tests.)
func TestShutdownEndsAConnectionWithAnAnswer(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	n.Server.AwaitLast(30 * time.Second)
	w := dial(t, n.Addr)
	w.do("SET a 1", "+OK")
	done := shutdown(n)
	time.Sleep(50 * time.Millisecond)
	w.do("INCR a", ":2")
	w.closed()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
