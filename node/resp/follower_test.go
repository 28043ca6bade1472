package resp_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// startPair runs a leader, and a follower that follows it from the start.
func startPair(t *testing.T) (leader, follower *resptest.Node) {
	leader = resptest.StartWaiting(t, resp.Options{})
	follower = leader.Follow(resp.Options{})
	leader.Lead()
	return leader, follower
}

func TestFollower(t *testing.T) {
	leader, follower := startPair(t)
	l, f := dial(t, leader.Addr), dial(t, follower.Addr)
	l.do("SET a 1", "+OK")
	l.do("WAIT 1 1000", ":1")
	l.do("WAITAOF 1 1 1000", "*2", ":1", ":1")
	f.do("GET a", "$1", "1")
	f.do("SET a 2", "-READONLY You can't write against a read only replica.")
	f.do("FLUSHALL", "-READONLY...")
	f.do("WAIT 0 0", "-ERR WAIT cannot be used with replica instances...")
	f.send("GET a", "SET a 2", "GET a")
	f.expect("$1", "1", "-READONLY...", "$1", "1")
	f.do("ROLE", "*5", "$5", "slave", "$9", "127.0.0.1", ":...", "$9", "connected", ":...")
	l.do("ROLE", "*3", "$6", "master", ":...", "*1", "*3", "$9", "127.0.0.1")
}

func TestExecOnFollower(t *testing.T) {
	leader, follower := startPair(t)
	l, f := dial(t, leader.Addr), dial(t, follower.Addr)
	l.do("MSET a 0 b 0", "+OK")
	f.send("MULTI", "SET a 1", "EXEC")
	f.expect("+OK", "-READONLY...", "-EXECABORT...")
	// Anything applied after WATCH counts as a change.
	f.do("WATCH a", "+OK")
	f.send("MULTI", "GET a", "EXEC")
	f.expect("+OK", "+QUEUED", "*1", "$1", "0")
	f.do("WATCH a", "+OK")
	l.do("SET other 1", "+OK")
	f.send("MULTI", "GET a", "EXEC")
	f.expect("+OK", "+QUEUED", "*-1")
}

// A transaction of reads sees one state, even though the follower applies entries all the time.
func TestExecOnFollowerIsAtomic(t *testing.T) {
	leader, follower := startPair(t)
	l, f := dial(t, leader.Addr), dial(t, follower.Addr)
	var stop atomic.Bool
	var pause atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; !stop.Load(); i++ {
			time.Sleep(time.Duration(pause.Load()))
			l.send(fmt.Sprintf("MSET a %d b %d", i, i))
			if _, err := l.r.ReadString('\n'); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range 500 {
		f.send("MULTI", "GET a", "PING", "GET b", "EXEC")
		f.expect("+OK", "+QUEUED", "+QUEUED", "+QUEUED", "*3")
		if f.line() == "$-1" {
			f.expect("+PONG", "$-1")
			continue
		}
		a := f.line()
		f.expect("+PONG", "$...", a)
	}
	// A transaction that takes longer to read than one entry takes to be applied. The pause keeps it from reading over ever more newer
	// versions of the two keys, which takes too long with the race detector.
	pause.Store(int64(10 * time.Millisecond))
	const pairs = 10_000
	lines := append([]string{"MULTI"}, slices.Repeat([]string{"GET a", "GET b"}, pairs)...)
	f.send(append(lines, "EXEC")...)
	f.expect("+OK")
	f.expect(slices.Repeat([]string{"+QUEUED"}, 2*pairs)...)
	f.expect(fmt.Sprintf("*%d", 2*pairs), "$...")
	a := f.line()
	for range 2*pairs - 1 {
		f.expect("$...", a)
	}
	stop.Store(true)
	<-done
}
