package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// script is a Node that answers as a test tells it to and remembers what it was asked.
type script struct {
	mu      sync.Mutex
	status  wire.Status
	changed chan struct{}
	orders  []any
	err     error // of every order
	statErr error
	heldUp  error
	live    error
	ready   error
	asked   int
}

func newScript() *script { return &script{changed: make(chan struct{})} }

func (s *script) Status(context.Context) (wire.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.status, s.statErr
}

func (s *script) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *script) change(f func(*wire.Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.status)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *script) take(order any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.orders = append(s.orders, order)
	}
	return s.err
}

func (s *script) Fence(_ context.Context, r wire.FenceRequest) (wire.FenceReply, error) {
	return wire.FenceReply{Member: "orders-1", Promised: r.Epoch}, s.take(r)
}
func (s *script) Promote(_ context.Context, r wire.PromoteRequest) error     { return s.take(r) }
func (s *script) Follow(_ context.Context, r wire.FollowRequest) error       { return s.take(r) }
func (s *script) Configure(_ context.Context, r wire.ConfigureRequest) error { return s.take(r) }
func (s *script) Handover(_ context.Context, r wire.HandoverRequest) (wire.HandoverReply, error) {
	return wire.HandoverReply{End: replication.Mark{Epoch: r.Epoch, Position: 9}}, s.take(r)
}
func (s *script) HeldUp() error { return s.heldUp }
func (s *script) Live() error   { return s.live }
func (s *script) Ready() error  { return s.ready }

// serve starts a server on loopback. It returns its URL and a function that stops it and waits for its end.
func serve(t *testing.T, node Node, opt Options) (url string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- New(node, opt).Serve(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("the server does not stop")
		}
	})
	t.Cleanup(stop)
	return "http://" + l.Addr().String(), stop
}

func post(t *testing.T, url, body string) (int, []byte) {
	t.Helper()
	r, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, b
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// waiting is a Node whose Status blocks until its context ends.
type waiting struct{ *script }

func (waiting) Status(ctx context.Context) (wire.Status, error) {
	<-ctx.Done()
	return wire.Status{}, fmt.Errorf("wait: %w", ctx.Err())
}

// A member that cannot give its status soon enough says why; one that can gives its status.
func TestAMemberThatIsHeldUpSaysSo(t *testing.T) {
	held := &script{heldUp: errors.New("the disk hangs"), status: wire.Status{Member: "orders-1"}}
	url, _ := serve(t, waiting{held}, Options{})
	code, body := get(t, url+wire.PathStatus)
	var said wire.Error
	if err := json.Unmarshal([]byte(body), &said); err != nil || code != http.StatusServiceUnavailable ||
		said.Reason != wire.ProblemDiskStuck || said.Message != "the disk hangs" {
		t.Errorf("%d: %s", code, body)
	}
	url, _ = serve(t, held, Options{})
	if code, body = get(t, url+wire.PathStatus); code != http.StatusOK || !strings.Contains(body, `"member":"orders-1"`) {
		t.Errorf("%d: %s", code, body)
	}
}

const oneRule = `[{"voters":[{"member":"orders-2","incarnation":"b"}],"k":1}]`

func TestOrdersReachTheNode(t *testing.T) {
	rules := []replication.Rule{{Voters: []replication.Voter{{Member: "orders-2", Incarnation: "b"}}, K: 1}}
	tests := map[string]struct {
		path, body string
		want       any
		reply      string
	}{
		"fence": {wire.PathFence, `{"epoch":7}`, wire.FenceRequest{Epoch: 7}, `"promised":7`},
		"promote": {
			wire.PathPromote, `{"epoch":7,"configVersion":3,"rules":` + oneRule + `,"start":{"epoch":6,"position":5,"chain":1},"leaseDurationMillis":6000}`,
			wire.PromoteRequest{Epoch: 7, ConfigVersion: 3, Rules: rules, Start: replication.Mark{Epoch: 6, Position: 5, Chain: 1}, LeaseDurationMillis: 6000},
			`"store":"orders"`,
		},
		"follow": {
			wire.PathFollow, `{"epoch":7,"leader":"orders-1","address":"10.0.0.1:6380"}`,
			wire.FollowRequest{Epoch: 7, Leader: "orders-1", Address: "10.0.0.1:6380"}, `"store":"orders"`,
		},
		"configure": {
			wire.PathConfigure, `{"epoch":7,"version":4,"rules":` + oneRule + `}`,
			wire.ConfigureRequest{Epoch: 7, Version: 4, Rules: rules}, `"store":"orders"`,
		},
		"handover": {
			wire.PathHandover, `{"epoch":7,"to":"orders-2","holdMillis":2000}`,
			wire.HandoverRequest{Epoch: 7, To: "orders-2", HoldMillis: 2000}, `"position":9`,
		},
		"bootstrap's rule without voters": {
			wire.PathConfigure, `{"epoch":1,"version":1,"rules":[{"voters":[],"k":1}]}`,
			wire.ConfigureRequest{Epoch: 1, Version: 1, Rules: []replication.Rule{{Voters: []replication.Voter{}, K: 1}}}, `"store":"orders"`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			node := newScript()
			node.status.Store = "orders"
			url, _ := serve(t, node, Options{})
			code, body := post(t, url+tc.path, tc.body)
			if code != http.StatusOK || !strings.Contains(string(body), tc.reply) {
				t.Fatalf("answer %d %s, want 200 with %s", code, body, tc.reply)
			}
			if len(node.orders) != 1 || fmt.Sprint(node.orders[0]) != fmt.Sprint(tc.want) {
				t.Fatalf("node got %+v, want %+v", node.orders, tc.want)
			}
		})
	}
}

func TestMalformedOrdersNeverReachTheNode(t *testing.T) {
	tests := map[string]struct{ path, body string }{
		"no body":           {wire.PathFence, ``},
		"unknown field":     {wire.PathFence, `{"epoch":7,"force":true}`},
		"two values":        {wire.PathFence, `{"epoch":7}{"epoch":8}`},
		"epoch 0":           {wire.PathFence, `{}`},
		"the last epoch":    {wire.PathFence, `{"epoch":18446744073709551615}`},
		"epoch below 0":     {wire.PathFence, `{"epoch":-1}`},
		"too long":          {wire.PathFence, `{"epoch":7}` + strings.Repeat(" ", maxBody)},
		"no rule":           {wire.PathConfigure, `{"epoch":7,"version":1,"rules":[]}`},
		"three rules":       {wire.PathConfigure, `{"epoch":7,"version":1,"rules":[{"k":0},{"k":0},{"k":0}]}`},
		"k below 0":         {wire.PathConfigure, `{"epoch":7,"version":1,"rules":[{"k":-1}]}`},
		"voter twice":       {wire.PathConfigure, `{"epoch":7,"version":1,"rules":[{"k":1,"voters":[{"member":"a","incarnation":"1"},{"member":"a","incarnation":"2"}]}]}`},
		"nameless voter":    {wire.PathPromote, `{"epoch":7,"rules":[{"k":1,"voters":[{"incarnation":"1"}]}]}`},
		"negative lease":    {wire.PathPromote, `{"epoch":7,"rules":` + oneRule + `,"leaseDurationMillis":-1}`},
		"address of nobody": {wire.PathFollow, `{"epoch":7,"leader":"a","address":"10.0.0.1"}`},
		"leader of no name": {wire.PathFollow, `{"epoch":7,"leader":"","address":"10.0.0.1:1"}`},
		"endless hold":      {wire.PathHandover, `{"epoch":7,"to":"a","holdMillis":99999999999}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			node := newScript()
			url, _ := serve(t, node, Options{})
			code, body := post(t, url+tc.path, tc.body)
			var e wire.Error
			if err := json.Unmarshal(body, &e); err != nil || code != http.StatusBadRequest || e.Reason != "Malformed" {
				t.Fatalf("answer %d %s (%v), want 400 Malformed", code, body, err)
			}
			if len(node.orders) != 0 {
				t.Fatalf("node got %+v", node.orders)
			}
		})
	}
}

func TestErrorsBecomeCodes(t *testing.T) {
	tests := map[string]struct {
		err    error
		code   int
		reason string
		status bool
	}{
		"refusal":         {&replication.Refusal{Reason: "Promised", Message: "epoch 6 is below 7"}, 409, "Promised", true},
		"wrapped refusal": {fmt.Errorf("fence: %w", &replication.Refusal{Reason: "Promised"}), 409, "Promised", true},
		"not open":        {fmt.Errorf("fence: %w", ErrNotOpen), 503, "NotOpen", false},
		"timed out":       {context.DeadlineExceeded, 503, "TimedOut", false},
		"failed":          {errors.New("save the promise: input/output error"), 500, "Failed", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			node := newScript()
			node.err = tc.err
			node.status.Promised = 7
			url, _ := serve(t, node, Options{})
			code, body := post(t, url+wire.PathFence, `{"epoch":6}`)
			var e wire.Error
			if err := json.Unmarshal(body, &e); err != nil {
				t.Fatal(err)
			}
			if code != tc.code || e.Reason != tc.reason || e.Message != tc.err.Error() || (e.Status != nil) != tc.status {
				t.Fatalf("answer %d %+v", code, e)
			}
			if tc.status && e.Status.Promised != 7 {
				t.Fatalf("status in the refusal is %+v", e.Status)
			}
		})
	}
}

func TestProbesAndMetrics(t *testing.T) {
	node := newScript()
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "test_total", Help: "A test's."})
	c.Inc()
	reg.MustRegister(c)
	url, _ := serve(t, node, Options{Registry: reg})
	if code, body := get(t, url+wire.PathLive); code != 200 || body != "ok\n" {
		t.Errorf("livez answers %d %q", code, body)
	}
	node.live, node.ready = errors.New("the disk hangs"), errors.New("seeding from orders-1")
	if code, body := get(t, url+wire.PathLive); code != 503 || body != "the disk hangs\n" {
		t.Errorf("livez answers %d %q", code, body)
	}
	if code, body := get(t, url+wire.PathReady); code != 503 || body != "seeding from orders-1\n" {
		t.Errorf("readyz answers %d %q", code, body)
	}
	if code, body := get(t, url+wire.PathMetrics); code != 200 || !strings.Contains(body, "test_total 1") {
		t.Errorf("metrics answers %d %q", code, body)
	}
	if code, _ := get(t, url+wire.PathFence); code != http.StatusMethodNotAllowed {
		t.Errorf("GET of an order answers %d", code)
	}
}

func TestProfilesOnlyWhereNobodyElseReads(t *testing.T) {
	node := newScript()
	url, _ := serve(t, node, Options{})
	if code, _ := get(t, url+"/debug/pprof/cmdline"); code != 200 {
		t.Errorf("loopback answers %d", code)
	}
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- New(node, Options{}).Serve(ctx, l) }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if code, _ := get(t, "http://127.0.0.1:"+port+"/debug/pprof/cmdline"); code != 404 {
		t.Errorf("every address: answers %d", code)
	}
	cancel()
	<-done
}

func TestWatchTellsChangesAndEndsWithTheServer(t *testing.T) {
	node := newScript()
	url, stop := serve(t, node, Options{})
	r, err := http.Get(url + wire.PathWatch)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	next := func() (st wire.Status) {
		t.Helper()
		for more := true; more; more = len(lines.Bytes()) == 0 { // an empty line only says that nothing has changed
			if !lines.Scan() {
				t.Fatalf("stream ended: %v", lines.Err())
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	if st := next(); st.Promised != 0 {
		t.Fatalf("first line %+v", st)
	}
	node.change(func(st *wire.Status) { st.Promised = 5 })
	if st := next(); st.Promised != 5 {
		t.Fatalf("line after the change %+v", st)
	}
	stop()
	for lines.Scan() { // at most one line that was under way
	}
}

func TestWatchWithoutStatusIsRefused(t *testing.T) {
	node := newScript()
	node.statErr = ErrNotOpen
	url, _ := serve(t, node, Options{})
	if code, body := get(t, url+wire.PathWatch); code != 503 || !strings.Contains(body, "NotOpen") {
		t.Fatalf("answers %d %s", code, body)
	}
}

func TestWatchesAreBounded(t *testing.T) {
	node := newScript()
	url, _ := serve(t, node, Options{})
	for range maxWatches {
		r, err := http.Get(url + wire.PathWatch)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Body.Close() })
	}
	if code, body := get(t, url+wire.PathWatch); code != 503 || !strings.Contains(body, "TooManyWatches") {
		t.Fatalf("answers %d %s", code, body)
	}
}
