package plots

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/limits"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/results"
	"github.com/replicatedstore/replicatedstore/hack/soak/pauses/outcome"
)

func study() *results.Study {
	points := func(factor float64) (all []results.Point) {
		for _, c := range []float64{1, 4, 16, 64, 256} {
			rate := factor * 1000 * c / (1 + c/20)
			all = append(all, results.Point{
				X: c, Label: fmt.Sprint(c), Samples: []float64{0.9 * rate, rate, 1.2 * rate},
				Limits: []limits.Limit{{Name: limits.Fdatasync, Rate: 3000 * c}, {Name: limits.Processor, Rate: 20_000 * factor}},
			})
		}
		return all
	}
	return &results.Study{
		Curves: []results.Curve{{
			Name: "connections", Title: "SET by <connections>", X: "connections", LogX: true, LogY: true,
			Lines: []results.Line{{Name: "store (3 members, k = 1)", Points: points(1)}, {Name: "Redis", Points: points(1.5)}},
		}, {
			Name: "members", Title: "SET by members", X: "members", Lines: []results.Line{{Name: "store", Points: points(1)}},
		}},
		Latencies: []results.Distribution{
			{System: "store", Quantiles: []results.Quantile{{At: 0, Millis: 0.5}, {At: 0.5, Millis: 3}, {At: 0.99, Millis: 9}, {At: 0.999, Millis: 30}, {At: 1, Millis: 60}}},
			{System: "etcd", Quantiles: []results.Quantile{{At: 0.1, Millis: 8}, {At: 0.5, Millis: 11}, {At: 0.999, Millis: 90}}},
		},
	}
}

func pauses() *outcome.Report {
	return &outcome.Report{Faults: []outcome.Fault{
		{Name: "process killed", Times: []outcome.Outcome{{Pause: 1100 * time.Millisecond}, {Pause: 900 * time.Millisecond}}},
		{Name: "cut off", Times: []outcome.Outcome{{Pause: 2 * time.Second}}},
		{Name: "never done"},
	}}
}

// words returns the text that a reader sees in a file, which must be well-formed.
func words(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all.String()
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if text, ok := token.(xml.CharData); ok {
			all.Write(text)
		}
	}
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "plots")
	if err := Write(dir, study(), pauses()); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string][]string{
		"connections.svg": {"SET by <connections>", "store (3 members, k = 1)", "Redis", "256", "10k", "limit of each", "prefers-color-scheme:dark"},
		"members.svg":     {"SET by members", "store"},
		"latency.svg":     {"etcd", "99.9 %", "ms"},
		"pauses.svg":      {"process killed (2)", "cut off (1)", "seconds"},
	} {
		got := words(t, filepath.Join(dir, file))
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s does not show %q: %q", file, w, got)
			}
		}
		if strings.Contains(got, "never done") {
			t.Errorf("%s shows what was not measured", file)
		}
	}
}

// The plot of what this run did not measure stays as it is.
func TestWriteLeavesTheRest(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, study(), pauses()); err != nil {
		t.Fatal(err)
	}
	before := words(t, filepath.Join(dir, "pauses.svg"))
	if err := Write(dir, &results.Study{}, new(outcome.Report)); err != nil {
		t.Fatal(err)
	}
	if got := words(t, filepath.Join(dir, "pauses.svg")); got != before {
		t.Errorf("it changed to %q", got)
	}
}

// The same study yields the same bytes, so that committed files can be compared.
func TestWriteIsRepeatable(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for _, dir := range []string{a, b} {
		if err := Write(dir, study(), pauses()); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(a, "*.svg"))
	if err != nil || len(files) != 4 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		x, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if y, err := os.ReadFile(filepath.Join(b, filepath.Base(f))); err != nil || !bytes.Equal(x, y) {
			t.Errorf("%s differs: %v", filepath.Base(f), err)
		}
	}
}

func TestCumulative(t *testing.T) {
	got := cumulative([]outcome.Outcome{{Pause: 3 * time.Second}, {Pause: time.Second}}, 5)
	want := "[{0 0} {1 0.5} {3 1} {5 1}]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFactors(t *testing.T) {
	tests := map[string]struct {
		from, to float64
		want     string // the labelled ones
	}{
		"few":                  {900, 4000, "1k 2k"},
		"less than one":        {0.3, 6, "0.5 1 2 5"},
		"many: powers of ten":  {10, 2e6, "10 100 1k 10k 100k 1M"},
		"the ends are inside":  {1, 10, "1 2 5 10"},
		"between two of those": {3, 4, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, tick := range (factors{}).Ticks(tc.from, tc.to) {
				if tick.Label != "" {
					got = append(got, tick.Label)
				}
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
