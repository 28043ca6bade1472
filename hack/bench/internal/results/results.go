// Package results holds the measurements of a benchmark, judges them, and formats them as tables.
package results

import "slices"

// Report is everything that one run of the benchmark measured.
type Report struct {
	Machine     string    `json:"machine"`
	Rounds      int       `json:"rounds"`
	PointMillis int64     `json:"pointMillis"`
	Contests    []Contest `json:"contests"`
	Facts       []Fact    `json:"facts,omitempty"`
}

// Contest is several systems under one load. Samples with the same index were taken one after the other.
type Contest struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"` // of the samples
	Sides  []Side    `json:"sides"`
	Goals  []Goal    `json:"goals"`
	Millis []Latency `json:"latencies,omitempty"` // in the order of the sides
}

// Side is one system's samples.
type Side struct {
	System  string    `json:"system"`
	Samples []float64 `json:"samples"`
}

// Latency holds the medians over the rounds of what one side's load generator reported, in milliseconds.
type Latency struct {
	P50, P99, Max float64
}

// Goal is a bound on the ratio of two sides.
type Goal struct {
	Of, To string  // systems
	Bound  float64 `json:"bound"`
	AtMost bool    `json:"atMost,omitempty"` // otherwise at least
}

// Fact is a single reported figure, with what it compares to and the reason for it.
type Fact struct {
	Name, Ours, Theirs, Reason string
	// Goal and Met are set if there is a bound.
	Goal string `json:",omitempty"`
	Met  bool   `json:",omitempty"`
}

// Spread holds the median, the minimum and the maximum of some samples.
type Spread struct{ Median, Min, Max float64 }

// SpreadOf returns the spread of samples. It is zero if there are none.
func SpreadOf(samples []float64) Spread {
	if len(samples) == 0 {
		return Spread{}
	}
	s := slices.Sorted(slices.Values(samples))
	mid := s[len(s)/2]
	if len(s)%2 == 0 {
		mid = (s[len(s)/2-1] + mid) / 2
	}
	return Spread{Median: mid, Min: s[0], Max: s[len(s)-1]}
}

// Side returns the samples of a system.
func (c *Contest) Side(system string) []float64 {
	for _, s := range c.Sides {
		if s.System == system {
			return s.Samples
		}
	}
	return nil
}

// Ratio returns the spread of g's ratio over the rounds, and whether its median meets the bound.
func (c *Contest) Ratio(g Goal) (s Spread, met bool) {
	of, to := c.Side(g.Of), c.Side(g.To)
	var ratios []float64
	for i := range min(len(of), len(to)) {
		if to[i] > 0 {
			ratios = append(ratios, of[i]/to[i])
		}
	}
	if len(ratios) == 0 {
		return Spread{}, false
	}
	s = SpreadOf(ratios)
	if g.AtMost {
		return s, s.Median <= g.Bound
	}
	return s, s.Median >= g.Bound
}

// Load reads a report from a file.
func Load(path string) (*Report, error) { return load[Report](path) }

// Save writes the report to a file.
func (r *Report) Save(path string) error { return save(path, r) }
