package load

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"regexp"
	"slices"
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
			_, _ = c.Write([]byte("+OK\r\n:0\r\n")) // WAIT reached no replica
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
	o := Loop{Shape: Shape{Connections: 3, Pipeline: 4, Value: 100, Keys: 10}, For: 2 * time.Second}
	for begun := time.Now(); ; {
		r, all, err := o.Run(context.Background(), address)
		var refused *net.OpError
		switch {
		case errors.As(err, &refused) && time.Since(begun) < time.Minute:
			time.Sleep(10 * time.Millisecond) // it is not listening yet
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

func TestDistributions(t *testing.T) {
	tests := map[string]struct {
		said string
		line *regexp.Regexp
		unit time.Duration
		want []Quantile
	}{
		"redis-benchmark goes on with a table by latency": {"Latency by percentile distribution:\n0.000% <= 0.263 milliseconds (cumulative count 1)\n" +
			"50.000% <= 1.471 milliseconds (cumulative count 512)\n100.000% <= 9.300 milliseconds (cumulative count 1000)\n\n" +
			"Cumulative distribution of latencies:\n0.063% <= 0.103 milliseconds (cumulative count 63)\n99.000% <= 5.103 milliseconds (cumulative count 990)\n",
			redisQuantile, time.Millisecond, []Quantile{{0, 263 * time.Microsecond}, {0.5, 1471 * time.Microsecond}, {1, 9300 * time.Microsecond}}},
		"etcd": {"Latency distribution:\n  10% in 0.0040 secs.\n  99.9% in 0.1600 secs.\n",
			etcdQuantile, time.Second, []Quantile{{0.1, 4 * time.Millisecond}, {0.999, 160 * time.Millisecond}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseQuantiles([]byte(tc.said), tc.line, tc.unit)
			if err != nil || !slices.EqualFunc(got, tc.want, func(a, b Quantile) bool { return math.Abs(a.At-b.At) < 1e-9 && a.Latency == b.Latency }) {
				t.Errorf("got %v, %v, want %v", got, err, tc.want)
			}
		})
	}
	if _, err := parseQuantiles([]byte("Could not connect"), redisQuantile, time.Millisecond); err == nil {
		t.Error("no distribution was taken for one")
	}
}

// Fill writes each key once, and stops after a refusal.
func TestFill(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	keys := make(chan map[string]int, 2)
	serve := func(answer string) {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		seen := map[string]int{}
		r := bufio.NewReader(c)
		for {
			var word string
			for _, n := range []int{4 + 4 + 5 + 5, 16, 2, len("$100\r\n") + 100 + 2} { // *3 $3 SET $16, the key, the value
				b := make([]byte, n)
				if _, err := io.ReadFull(r, b); err != nil {
					keys <- seen
					return
				}
				if n == 16 {
					word = string(b)
				}
			}
			seen[word]++
			if _, err := io.WriteString(c, answer); err != nil {
				keys <- seen
				return
			}
		}
	}
	go serve("+OK\r\n")
	if err := Fill(t.Context(), l.Addr().String(), 3, 603, 100); err != nil {
		t.Fatal(err)
	}
	seen := <-keys
	if len(seen) != 600 || seen["key:000000000003"] != 1 || seen["key:000000000602"] != 1 {
		t.Errorf("%d keys were set, 600 were due; the ends %d and %d times", len(seen), seen["key:000000000003"], seen["key:000000000602"])
	}
	go serve("-ERR full\r\n")
	if err := Fill(t.Context(), l.Addr().String(), 0, 10_000, 100); err == nil {
		t.Error("a refusal was taken for an acknowledgement")
	}
	if seen := <-keys; len(seen) > fillBatch {
		t.Errorf("%d keys were sent although the first ones were refused", len(seen))
	}
}
