package limits

import (
	"math"
	"testing"
)

func TestWhichLimitBinds(t *testing.T) {
	g := Gauge{Processors: 2, Syncs: []float64{4000, 2500, 1500}, DiskBytes: 300e6, LoopbackBytes: 2e9}
	tests := map[string]struct {
		use  Use
		want Limit
	}{
		"one write at a time waits for the disk":              {Use{Members: 1, Batch: 1, Processor: 50e-6, Null: 60_000}, Limit{Fdatasync, 4000}},
		"three logs on one disk share it":                     {Use{Members: 3, Batch: 1, Processor: 150e-6, Null: 60_000}, Limit{Fdatasync, 1500}},
		"batches make fdatasync cheap":                        {Use{Members: 3, Batch: 20, Processor: 150e-6, Null: 60_000}, Limit{Processor, 2 / 150e-6}},
		"the generator takes processors too":                  {Use{Members: 3, Batch: 20, Processor: 150e-6, Generator: 50e-6, Null: 60_000}, Limit{Processor, 10_000}},
		"large values are bytes on the disk":                  {Use{Members: 3, Batch: 20, Processor: 1e-3, DiskBytes: 6e6, Moved: 3e6}, Limit{Sequential, 50}},
		"what every follower gets crosses loopback":           {Use{Members: 3, Batch: 50, Processor: 1e-4, Moved: 3e6}, Limit{Network, 2e9 / 3e6}},
		"no server is faster than one that does nothing":      {Use{Members: 1, Processor: 1e-6, Null: 60_000}, Limit{Network, 60_000}},
		"more members than were tried: the most that were":    {Use{Members: 7, Batch: 2}, Limit{Fdatasync, 3000}},
		"a read syncs and writes nothing, and is not bounded": {Use{Members: 3, Processor: 20e-6}, Limit{Processor, 100_000}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := Binding(g.Of(tc.use))
			if !ok || got.Name != tc.want.Name || math.Abs(got.Rate-tc.want.Rate) > 1e-6*tc.want.Rate {
				t.Errorf("got %v, %t, want %v; all: %v", got, ok, tc.want, g.Of(tc.use))
			}
		})
	}
}

func TestNothingKnownLimitsNothing(t *testing.T) {
	if l, ok := Binding((Gauge{}).Of(Use{Members: 3, Batch: 10, Processor: 1, DiskBytes: 1, Moved: 1})); ok {
		t.Errorf("got %v", l)
	}
	if l, ok := Binding((Gauge{Processors: 2, Syncs: []float64{1}, DiskBytes: 1, LoopbackBytes: 1}).Of(Use{})); ok {
		t.Errorf("got %v", l)
	}
}

func TestEveryLimitIsTold(t *testing.T) {
	g := Gauge{Processors: 2, Syncs: []float64{1000}, DiskBytes: 1e6, LoopbackBytes: 1e9}
	got := g.Of(Use{Members: 1, Batch: 2, Processor: 1e-3, DiskBytes: 1e3, Moved: 1e3, Null: 5e4})
	want := []Limit{{Fdatasync, 2000}, {Sequential, 1000}, {Processor, 2000}, {Network, 5e4}}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %v, want %v", got[i], want[i])
		}
	}
}
