package load

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/peers"
)

func TestRedisBenchmarksTable(t *testing.T) {
	got, err := parseRedis([]byte("WARNING: Could not fetch server CONFIG\n" +
		"\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n" +
		"\"SET\",\"19665.68\",\"2.399\",\"0.264\",\"1.471\",\"7.151\",\"11.455\",\"71.231\"\n"))
	want := Result{Rate: 19665.68, P50: 1471 * time.Microsecond, P99: 11455 * time.Microsecond, Max: 71231 * time.Microsecond}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := parseRedis([]byte("Could not connect")); err == nil {
		t.Error("no table was taken for one")
	}
}

func TestEtcdsSummary(t *testing.T) {
	got, err := parseEtcd([]byte("Summary:\n  Total:\t1.2 secs.\n  Slowest:\t0.1620 secs.\n  Requests/sec:\t3068.4\n\nLatency distribution:\n" +
		"  50% in 0.0109 secs.\n  99% in 0.1560 secs.\n  99.9% in 0.1600 secs.\n"))
	want := Result{Rate: 3068.4, P50: 10900 * time.Microsecond, P99: 156 * time.Millisecond, Max: 162 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := parseEtcd([]byte("Error distribution:\n  [10]\ttimeout")); err == nil {
		t.Error("no summary was taken for one")
	}
}

// A refusal must not count as a request.
func TestLoopCountsOnlyWhatWasAcknowledged(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			_, _ = c.Write([]byte("+OK\r\n:0\r\n")) // WAIT reached nobody
		}
	}()
	o := Loop{Shape: Shape{Connections: 2, Pipeline: 1, Value: 8, Keys: 10}, Wait: 1, For: 5 * time.Second}
	if r, _, err := o.Run(t.Context(), l.Addr().String()); err == nil || r.Rate != 0 {
		t.Errorf("got %+v, %v, want an error and no request", r, err)
	}
}

func TestLoopAgainstTheNullServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	ended := make(chan error, 1)
	go func() { ended <- peers.ServeNull(address) }()
	o := Loop{Shape: Shape{Connections: 3, Pipeline: 4, Value: 100, Keys: 10}, For: 200 * time.Millisecond}
	for begun := time.Now(); ; {
		r, all, err := o.Run(context.Background(), address)
		var refused *net.OpError
		switch {
		case errors.As(err, &refused) && time.Since(begun) < 5*time.Second:
			time.Sleep(10 * time.Millisecond) // it has not begun to listen
			continue
		case err != nil:
			t.Fatal(err)
		case len(all) == 0 || r.P50 > r.P99 || r.P99 > r.Max || r.Rate <= 0:
			t.Errorf("got %+v over %d round trips", r, len(all))
		}
		break
	}
	select {
	case err := <-ended:
		t.Errorf("null server ended: %v", err)
	default:
	}
}
