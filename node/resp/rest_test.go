package resp_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// Connections that a goroutine has served return to the loop after a while, and keep their state.
func TestIdleConnectionsGoOn(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	other, multi, watches, names, silent, half := dial(t, n.Addr), dial(t, n.Addr), dial(t, n.Addr), dial(t, n.Addr), dial(t, n.Addr), dial(t, n.Addr)
	multi.do("MULTI", "+OK")
	multi.do("SET a 1", "+QUEUED")
	watches.do("WATCH b", "+OK")
	names.do("CLIENT SETNAME me", "+OK")
	silent.send("CLIENT REPLY OFF", "PING")
	half.do("PING", "+PONG")
	half.send("*2\r\n$3\r\nGET\r\n$1")

	const parked = 5 // all but the one that has sent half a command
	eventually(t, func() string {
		if got := n.Server.Parked(); got < parked {
			return fmt.Sprintf("%d of %d connections are the loop's", got, parked)
		}
		return ""
	})
	other.do("SET b 1", "+OK")
	multi.do("EXEC", "*1", "+OK")
	watches.do("MULTI", "+OK")
	watches.do("SET b 2", "+QUEUED")
	watches.do("EXEC", "*-1")
	names.do("CLIENT GETNAME", "$2", "me")
	silent.send("SET c 1")
	silent.do("CLIENT REPLY ON", "+OK")
	half.send("a")
	half.expect("$1", "1")
	other.do("GET c", "$1", "1")
}

// Nudges at any time cost no client a reply or its connection.
func TestNudgesAtAnyTime(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	var clients sync.WaitGroup
	for i := range 8 {
		w := dial(t, n.Addr)
		clients.Go(func() {
			for j := range 300 {
				w.send("PING", fmt.Sprintf("SET k%d %d", i, j), fmt.Sprintf("MULTI\r\nGET k%d\r\nEXEC", i))
				w.expect("+PONG", "+OK", "+OK", "+QUEUED", "*1", fmt.Sprintf("$%d", len(fmt.Sprint(j))), fmt.Sprint(j))
			}
		})
	}
	done := make(chan struct{})
	go func() { clients.Wait(); close(done) }()
	for {
		select {
		case <-done:
			return
		case <-time.After(100 * time.Microsecond):
			n.Server.Nudge()
		}
	}
}

// A server that stops closes the connections in its loops.
func TestStopWhileConnectionsRest(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	w.do("PING", "+PONG")
	eventually(t, func() string {
		if n.Server.Parked() != 1 {
			return "the connection is not the loop's"
		}
		return ""
	})
	n.Server.Nudge() // as late as possible
	if err := n.Server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.closed()
}

// A command that is sent just as the server stops is answered, even if a nudge came before the interrupt that announces the stop, or the last
// reply was sent just before.
func TestLastWordsAfterANudge(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	n.Server.AwaitLast(30 * time.Second)
	var all []*wire
	for range 30 {
		all = append(all, dial(t, n.Addr))
	}
	for _, w := range all {
		w.do("PING", "+PONG") // a goroutine waits now, or is about to
	}
	n.Server.StopSlowly(func() {
		n.Server.Nudge()
		time.Sleep(20 * time.Millisecond)
	})
	n.Server.Nudge()
	time.Sleep(20 * time.Millisecond)
	for _, w := range all {
		w.send("SET a 1")
	}
	for _, w := range all {
		w.expect("+OK")
	}
}
