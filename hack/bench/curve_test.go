package main

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/limits"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/load"
)

// fake is a system with a known rate that syncs its log once per batch operations.
type fake struct {
	rate, batch float64
	syncs       float64
	asked       []int
}

func (f *fake) run(_ context.Context, _ load.Shape, n int) (load.Result, error) {
	f.asked = append(f.asked, n)
	f.syncs += float64(n) / f.batch
	return load.Result{Rate: f.rate, P50: time.Millisecond, Requests: n, Processor: time.Duration(n) * 100 * time.Microsecond}, nil
}

func (f *fake) series(name string, spots ...spot) *series {
	l := &series{subject: subject{name: name, members: 3, run: f.run, meters: meters{syncs: func(context.Context) (float64, error) { return f.syncs, nil }}}}
	for _, at := range spots {
		l.spots = append(l.spots, &measured{spot: at})
	}
	return l
}

func TestPointsBesideTheirLimits(t *testing.T) {
	at := []spot{{x: 1, label: "one", shape: shape("set", 1, 1)}, {x: 50, label: "fifty", shape: shape("set", 50, 1)}}
	store, null := &fake{rate: 20_000, batch: 4}, &fake{rate: 80_000, batch: math.Inf(1)}
	all := []*series{store.series("store", at...), null.series("null", at...)}
	if err := measureAll(t.Context(), options{rounds: 2, point: time.Second}, all); err != nil {
		t.Fatal(err)
	}
	if want := []int{first, first, 20_000, 20_000, 20_000, 20_000}; !slices.Equal(store.asked, want) {
		t.Errorf("runs of %v requests, want %v: a short one to warm up, then as many as fit", store.asked, want)
	}
	line := all[0].result(limits.Gauge{Processors: 2, Syncs: []float64{5000, 4000, 3000}}, all[1].spots)
	if line.Name != "store" || len(line.Points) != 2 {
		t.Fatalf("got %+v", line)
	}
	p := line.Points[1]
	if p.X != 50 || p.Label != "fifty" || !slices.Equal(p.Samples, []float64{20_000, 20_000}) || p.Millis.P50 != 1 {
		t.Errorf("got %+v", p)
	}
	want := []limits.Limit{{Name: limits.Fdatasync, Rate: 3000 * 4}, {Name: limits.Processor, Rate: 2 / 100e-6}, {Name: limits.Network, Rate: 80_000}}
	if len(p.Limits) != len(want) {
		t.Fatalf("limits %v, want %v", p.Limits, want)
	}
	for i, l := range p.Limits {
		if l.Name != want[i].Name || math.Abs(l.Rate-want[i].Rate) > 1e-6*want[i].Rate {
			t.Errorf("got limit %v, want %v", l, want[i])
		}
	}
}

func TestASystemThatFailsIsNamed(t *testing.T) {
	refused := errors.New("refused")
	f := (&fake{}).series("store", spot{label: "one", shape: shape("set", 1, 1)})
	f.run = func(context.Context, load.Shape, int) (load.Result, error) { return load.Result{}, refused }
	if err := measureAll(t.Context(), options{rounds: 1}, []*series{f}); !errors.Is(err, refused) || err.Error() != "one: store: refused" {
		t.Errorf("got %v", err)
	}
}

func TestUseOf(t *testing.T) {
	before := reading{processor: time.Second, written: 1 << 20, syncs: 100}
	after := reading{processor: 3 * time.Second, written: 3 << 20, syncs: 600}
	quiet := reading{processor: 3 * time.Second, written: 3 << 20}
	r := load.Result{Requests: 1000, Processor: time.Second}
	sh := load.Shape{Connections: 16, Pipeline: 2, Value: 128}
	base := limits.Use{Members: 3, Processor: 2e-3, Generator: 1e-3, DiskBytes: 2 << 20 / 1000.0}
	tests := map[string]struct {
		command string
		after   reading
		change  func(*limits.Use)
	}{
		"a SET goes on to every follower and is synced": {"set", after, func(u *limits.Use) { u.Moved, u.Batch = 3*144, 2 }},
		"a GET is not": {"get", after, func(u *limits.Use) { u.Moved, u.DiskBytes = 144, 0 }},
		"a system that does not tell of its syncs: at most": {"set", quiet, func(u *limits.Use) { u.Moved, u.Batch, u.AtMost = 3*144, 32, true }},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			sh, want := sh, base
			sh.Command = tc.command
			tc.change(&want)
			if got := useOf(3, sh, r, before, tc.after); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestRequests(t *testing.T) {
	tests := map[string]struct {
		connections, pipeline, value int
		wanted                       float64
		want                         int
	}{
		"nobody knows the rate":           {50, 1, 128, 0, first},
		"nor what large values take":      {4, 1, 1 << 20, 0, 16},
		"some for each connection":        {50, 16, 128, 100, 1600},
		"as many as fit":                  {50, 1, 128, 12_345.6, 12_345},
		"few large ones, but not too few": {16, 1, 1 << 20, 3, 32},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			sh := load.Shape{Connections: tc.connections, Pipeline: tc.pipeline, Value: tc.value}
			if got := requests(sh, tc.wanted); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

func TestMetric(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("# TYPE rstore_log_sync_seconds histogram\nrstore_log_sync_seconds_bucket{le=\"+Inf\"} 321\nrstore_log_sync_seconds_sum 1.5\nrstore_log_sync_seconds_count 321\n"))
	}))
	defer srv.Close()
	control := srv.Listener.Addr().String()
	if got, err := metric(t.Context(), control, "rstore_log_sync_seconds_count"); err != nil || got != 321 {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := metric(t.Context(), control, "rstore_log_sync_seconds"); err == nil {
		t.Errorf("a part of a name was taken for it: %v", got)
	}
}

// The meters cover everything that a store uses: its processes' CPU time, the writes to its disk, and its leader's syncs.
func TestStoreMeters(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("rstore_log_sync_seconds_count 321\n"))
	}))
	defer srv.Close()
	stat := filepath.Join(t.TempDir(), "stat")
	if err := os.WriteFile(stat, []byte("1 2 3 4 5 6 7 8 9 10 11\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := storeMeters([]int{os.Getpid()}, srv.Listener.Addr().String(), disk(stat)).read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.written != 7*sectorBytes || got.syncs != 321 {
		t.Errorf("got %+v", got)
	}
}

// The kernel's figure for this process only grows, and grows while it works.
func TestProcessorTime(t *testing.T) {
	before, err := processorTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		now, err := processorTime(os.Getpid())
		if err != nil || now < before {
			t.Fatalf("%d after %d, %v", now, before, err)
		}
		if now > before {
			return
		}
	}
	t.Error("ten seconds of work took no time")
}

// Every curve has its own name, which is also its plot's, and a table that says what it shows.
func TestEveryCurveSaysWhatItIs(t *testing.T) {
	names := map[string]bool{"latency": true, "pauses": true} // plots that are no curves
	for _, c := range curvePlan() {
		if names[c.Name] || c.Title == "" || c.Load == "" || c.X == "" || c.measure == nil {
			t.Errorf("%+v", c.Curve)
		}
		names[c.Name] = true
	}
}

// Writes and syncs are counted if there is a block device, and nothing is made up if there is none (tmpfs).
func TestDiskCountsWhatIsSynced(t *testing.T) {
	dir := t.TempDir()
	d, err := diskOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	before, err := d.written()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{dir: dir, o: options{point: repeats}} // one sync's worth
	if _, err := s.writeRate(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	after, err := d.written()
	if err != nil {
		t.Fatal(err)
	}
	if counted := after - before; d != "" && counted < writeSync || d == "" && counted != 0 {
		t.Errorf("%d bytes were counted on device %q, %d were synced", counted, d, writeSync)
	}
}

func TestNoDiskCountsNothing(t *testing.T) {
	if n, err := disk("").written(); n != 0 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if d, err := diskOf(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Errorf("got %q of no directory", d)
	}
}
