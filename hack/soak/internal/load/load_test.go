package load

import (
	"context"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/soak/internal/history"
	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// The whole load runs against a real server: what it records is complete, and is judged to be right.
func TestLoad(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	target := Target{ReadWrite: n.Addr, ReadOnly: n.Addr, Members: []ledger.Member{{Name: "m-1", Address: n.Addr}}}
	path := filepath.Join(t.TempDir(), "history.gz")
	remote := serve(t)
	if _, err := remote.Stats(time.Time{}); err == nil {
		t.Fatal("a load that was not started has stats")
	}
	begun := time.Now()
	if err := remote.Start(Options{
		Run: "r", History: path, Registers: target, Followers: target, Clients: 4, Slots: 2, Think: time.Millisecond,
		Rotate: 50 * time.Millisecond, LeastOpen: 3, Pairs: 1, Timeout: time.Second,
	}); err != nil {
		t.Fatal(err)
	}
	var s Stats
	for s.Writes < 200 || s.Reads < 200 || s.Views < 10 {
		var err error
		if s, err = remote.Stats(begun); err != nil {
			t.Fatal(err)
		}
		if time.Since(begun) > time.Minute {
			t.Fatalf("too little in a minute: %+v", s)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := remote.Finish(time.Minute); err != nil {
		t.Fatal(err)
	}
	h, err := history.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	v, err := history.Check(h.Ops, time.Minute, 2, t.TempDir())
	if err != nil || !v.OK() || v.Keys < 4 {
		t.Fatalf("%v: %v", v, err)
	}
	if breaches := history.CheckViews(h.Views); len(breaches) > 0 || int64(len(h.Views)) < s.Views {
		t.Fatalf("%d views, breaches: %v", len(h.Views), breaches)
	}
}

// The different fates of a connection are distinguished, and a write with neither a positive nor a negative reply stays open.
func TestLoadDeposed(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	conn := dial(n.Addr, 7*time.Second) // less than the node waits for a commit
	defer conn.close()
	o := history.Op{Kind: history.Set, Key: "k", Arg: "v"}
	if err := conn.do(&o); err != nil {
		t.Fatal(err)
	}
	n.Stall()
	err := conn.do(&o)
	if kind := errorKind(err); kind != "no answer in time" || ledger.Judge(err) != ledger.Unknown {
		t.Fatalf("%s: %v", kind, err)
	}
	n.Depose()
	if err := conn.do(&o); errorKind(err) != "READONLY" || ledger.Judge(err) != ledger.Failed {
		t.Fatalf("%s: %v", errorKind(err), err)
	}
	if conn.made != 2 {
		t.Fatalf("%d connections", conn.made)
	}
}

func TestRegisters(t *testing.T) {
	r := newRegisters(Options{Run: "r", Slots: 2, Rotate: time.Second, LeastOpen: 2})
	at := time.Unix(100, 0)
	first := r.key(0, at)
	if r.key(0, at.Add(999*time.Millisecond)) != first {
		t.Fatal("a register was given up early")
	}
	if r.key(1, at) == first {
		t.Fatal("two slots share a register")
	}
	second := r.key(0, at.Add(time.Second))
	if second == first {
		t.Fatal("a register is used too long")
	}
	r.opened(0, first) // an old key, which is ignored
	r.opened(0, second)
	if r.key(0, at.Add(time.Second)) != second {
		t.Fatal("a register was given up for one open operation, or for one of another")
	}
	r.opened(0, second)
	third := r.key(0, at.Add(time.Second))
	if third == second || len(r.keys()) != 4 {
		t.Fatalf("%s; all: %v", third, r.keys())
	}
}

func serve(t *testing.T) *Remote {
	requests, ask := io.Pipe()
	hear, answers := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(context.Background(), requests, answers) }()
	t.Cleanup(func() {
		ask.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return NewRemote(hear, ask)
}
