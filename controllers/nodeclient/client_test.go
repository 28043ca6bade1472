package nodeclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// patient are limits that nothing which works reaches.
func patient() nodeclient.Timeouts {
	return nodeclient.Timeouts{Status: time.Minute, Order: time.Minute, Silence: time.Minute}
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// hang does not answer until the caller has gone, which the server notices once the body is read.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// TestClassify checks what an error says about the member.
func TestClassify(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	answer := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); _, _ = w.Write([]byte(body)) }
	}
	for name, tc := range map[string]struct {
		addr    string
		want    nodeclient.Failure
		refusal string
	}{
		"an answer":          {serve(t, answer(200, `{}`)), nodeclient.NoFailure, ""},
		"an orderly refusal": {serve(t, answer(409, `{"reason":"Promised","message":"no"}`)), nodeclient.NoFailure, "Promised"},
		"not open yet":       {serve(t, answer(503, `{"reason":"NotOpen","message":"no"}`)), nodeclient.Unclear, ""},
		"only why not":       {serve(t, answer(503, `{"reason":"DiskStuck","message":"it hangs"}`)), nodeclient.TimedOut, ""},
		"something else":     {serve(t, answer(200, `<html>`)), nodeclient.Unclear, ""},
		"nothing listens":    {closed, nodeclient.Refused, ""},
		"nothing comes back": {serve(t, hang), nodeclient.TimedOut, ""},
	} {
		t.Run(name, func(t *testing.T) {
			limits := patient()
			if name == "nothing comes back" {
				limits.Order = time.Second
			}
			_, err := nodeclient.New(limits).Fence(t.Context(), nodeclient.Target{Address: tc.addr}, wire.FenceRequest{Epoch: 1})
			var refusal *wire.Error
			if got := nodeclient.Classify(err); got != tc.want {
				t.Fatalf("%v: classified %d, want %d", err, got, tc.want)
			}
			if errors.As(err, &refusal) != (tc.refusal != "") || refusal != nil && refusal.Reason != tc.refusal {
				t.Fatalf("refusal %v", refusal)
			}
		})
	}
}

// TestWatchEndsWithSilence checks that a member that stops sending is not waited for.
func TestWatchEndsWithSilence(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(wire.Status{Member: "m"})
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	for limits := (nodeclient.Timeouts{Silence: time.Second}); ; limits.Silence *= 2 {
		n := 0
		err := nodeclient.New(limits).Watch(t.Context(), nodeclient.Target{Address: addr}, func(*wire.Status) { n++ })
		if nodeclient.Classify(err) != nodeclient.TimedOut || n > 1 || n == 0 && limits.Silence > time.Minute {
			t.Fatalf("%d statuses, then %v", n, err)
		}
		if n == 1 {
			return
		} // otherwise the machine was too busy for the first status
	}
}

// TestWatchOfAMemberWithNothingNew checks that an empty line stands for the previous status.
func TestWatchOfAMemberWithNothingNew(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(wire.Status{Member: "m"})
		_, _ = w.Write([]byte("\n\n\n"))
	})
	var told []bool
	err := nodeclient.New(patient()).Watch(t.Context(), nodeclient.Target{Address: addr}, func(s *wire.Status) { told = append(told, s != nil) })
	if !slices.Equal(told, []bool{true, false, false, false}) {
		t.Fatalf("told %v, then %v", told, err)
	}
}

// streamOf serves what arrives on statuses; a status without a member ends the stream.
func streamOf(statuses <-chan wire.Status, streams *atomic.Int32) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		streams.Add(1)
		for {
			select {
			case s := <-statuses:
				if s.Member == "" {
					return
				}
				_ = json.NewEncoder(w).Encode(s)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}
}

// TestWatcher checks that the store is woken when something that matters changes and when a stream breaks, but not by mere
// progress, and that the watcher returns to a member that was away.
func TestWatcher(t *testing.T) {
	statuses := make(chan wire.Status)
	var streams atomic.Int32
	addr := serve(t, streamOf(statuses, &streams))
	wakes := make(chan types.NamespacedName, 16)
	w := nodeclient.NewWatcher(nodeclient.New(patient()), time.Minute, func(s types.NamespacedName) { wakes <- s })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.Start(ctx) }()
	store := types.NamespacedName{Namespace: "shop", Name: "orders"}
	w.Set(store, map[string]nodeclient.Target{"orders-1": {Address: addr, Member: "orders-1"}})

	status := wire.Status{Store: "orders", Member: "orders-1", Role: wire.RoleLeader, Epoch: 1}
	send := func(s wire.Status) {
		t.Helper()
		select {
		case statuses <- s:
		case <-time.After(time.Minute):
			t.Fatal("nobody reads the stream")
		}
	}
	woken := func(what string) {
		t.Helper()
		select {
		case got := <-wakes:
			if got != store {
				t.Fatalf("woke %v", got)
			}
		case <-time.After(time.Minute):
			t.Fatalf("not woken: %s", what)
		}
	}
	send(status)
	woken("the first status")
	progress := status
	progress.Commit, progress.Applied = 7, 7
	send(progress)
	progress.Writable = true
	send(progress)
	woken("it became writable")
	send(wire.Status{Store: "orders", Member: "somebody-else", Role: wire.RoleFenced})
	send(wire.Status{}) // ends the stream
	woken("the stream broke")
	send(status)
	woken("the stream is back")
	if len(wakes) > 0 {
		t.Fatal("woken by progress, or by somebody else")
	}
	if w.Heard(store, "orders-1").IsZero() || !w.Heard(store, "orders-2").IsZero() {
		t.Fatal("who was heard is not remembered")
	}
	w.Set(store, nil)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := streams.Load(); n < 2 {
		t.Fatalf("%d streams", n)
	}
}

// TestQuietStreamIsNews checks that silence is a reason to ask long before the stream counts as broken.
func TestQuietStreamIsNews(t *testing.T) {
	statuses := make(chan wire.Status)
	var streams atomic.Int32
	addr := serve(t, streamOf(statuses, &streams))
	wakes := make(chan types.NamespacedName, 16)
	w := nodeclient.NewWatcher(nodeclient.New(patient()), 20*time.Millisecond, func(s types.NamespacedName) { wakes <- s })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = w.Start(ctx) }()
	w.Set(types.NamespacedName{Namespace: "shop", Name: "orders"}, map[string]nodeclient.Target{"orders-1": {Address: addr, Member: "orders-1"}})
	select {
	case statuses <- wire.Status{Store: "orders", Member: "orders-1", Role: wire.RoleLeader, Epoch: 1}:
	case <-time.After(time.Minute):
		t.Fatal("nobody reads the stream")
	}
	for _, why := range []string{"the first status", "it went quiet"} {
		select {
		case <-wakes:
		case <-time.After(time.Minute):
			t.Fatalf("not woken: %s", why)
		}
	}
	if n := streams.Load(); n != 1 {
		t.Fatalf("%d streams", n)
	}
}

// An answer from somebody else is told apart from all other refusals: clients are routed away from there.
func TestSomebodyElseAnswers(t *testing.T) {
	for body, want := range map[string]bool{
		`{"reason":"NotAddressed","message":"this is others-1"}`: true,
		`{"reason":"Other","message":"no"}`:                      false,
	} {
		addr := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusMisdirectedRequest)
			_, _ = io.WriteString(w, body)
		})
		_, err := nodeclient.New(patient()).Status(t.Context(), nodeclient.Target{Address: addr})
		if errors.Is(err, nodeclient.ErrNotAddressed) != want || nodeclient.Classify(err) != nodeclient.Unclear {
			t.Errorf("%s: %v", body, err)
		}
	}
}
