package results

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/limits"
)

func study() *Study {
	point := func(x float64, label string, rate float64, use limits.Use) Point {
		g := limits.Gauge{Processors: 2, Syncs: []float64{4000, 3000, 2000}}
		return Point{X: x, Label: label, Samples: []float64{rate, rate / 2, 2 * rate}, Millis: Latency{P50: 1.5, P99: 12}, Use: use, Limits: g.Of(use)}
	}
	return &Study{
		Machine: "m", Rounds: 3, PointMillis: 600,
		Gauge: limits.Gauge{Processors: 2, Syncs: []float64{4000, 3000, 2000}, DiskBytes: 250e6, LoopbackBytes: 1.5e9},
		Curves: []Curve{{
			Name: "connections", Title: "SET by connections", Load: "values of 128 bytes", X: "connections", Note: "a note",
			Lines: []Line{
				{"store", []Point{
					point(1, "1", 1000, limits.Use{Members: 3, Batch: 1, Processor: 200e-6}),
					point(64, "64", 8000, limits.Use{Members: 3, Batch: 20, Processor: 200e-6}),
				}},
				{"Redis", []Point{
					point(1, "1", 2000, limits.Use{Members: 1, Batch: 1, AtMost: true, Processor: 50e-6}),
					point(64, "64", 9000, limits.Use{}),
				}},
			},
		}},
		Latencies: []Distribution{{"etcd", []Quantile{{0.1, 1}, {0.5, 2}, {0.99, 20}}}},
	}
}

func TestStudysTables(t *testing.T) {
	got := study().Markdown()
	for _, want := range []string{
		"Machine: m. 3 rounds of about 0.6 s a point",
		"1: 4000, 2: 3000, 3: 2000", "250 MB/s", "1500 MB/s",
		"**SET by connections**: values of 128 bytes", "\na note\n",
		"| 1 | store | 1000 (500 to 2000) | 1.50 | 12.0 | 200 | 1.00 | 2000 | disk: fdatasync | 50 % |\n" +
			"| 1 | Redis | 2000 (1000 to 4000) | 1.50 | 12.0 | 50.0 | <= 1.00 | 4000 | disk: fdatasync | 50 % |\n" +
			"| 64 | store | 8000 (4000 to 16000) | 1.50 | 12.0 | 200 | 20.0 | 10000 | CPU | 80 % |\n" +
			"| 64 | Redis | 9000 (4500 to 18000) | 1.50 | 12.0 | 0 |  | | | |\n",
		"| system | p50 | p75 | p90 | p99 | p99.9 | most |", "| etcd | 2.00 | 20.0 | 20.0 | 20.0 |  |  |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in:\n%s", want, got)
		}
	}
}

func TestStudySavedLoadedAndPutIntoADocument(t *testing.T) {
	dir := t.TempDir()
	path, doc := filepath.Join(dir, "s.json"), filepath.Join(dir, "doc.md")
	s := study()
	if err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := LoadStudy(path)
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Fatalf("got %+v, %v, want %+v", got, err, s)
	}
	other := marker("measured", "begin") + "kept\n" + marker("measured", "end")
	if err := os.WriteFile(doc, []byte(other+marker("curves", "begin")+"old\n"+marker("curves", "end")+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := got.Document(doc); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	want := other + marker("curves", "begin") + "\n" + s.Markdown() + "\n" + marker("curves", "end") + "after\n"
	if string(text) != want {
		t.Errorf("got:\n%s\nwant:\n%s", text, want)
	}
	if s.Document(path) == nil {
		t.Error("a document without markers was written")
	}
	if _, err := LoadStudy(doc); err == nil {
		t.Error("Markdown was taken for a study")
	}
}
