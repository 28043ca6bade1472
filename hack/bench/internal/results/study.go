package results

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/limits"
)

// Study is everything that one run of `bench curves` measured: figures over ranges, beside what the machine allows.
type Study struct {
	Machine     string         `json:"machine"`
	Rounds      int            `json:"rounds"`
	PointMillis int64          `json:"pointMillis"`
	Gauge       limits.Gauge   `json:"gauge"`
	Curves      []Curve        `json:"curves"`
	Latencies   []Distribution `json:"latencies,omitempty"`
}

// Curve is a set of rates over a range.
type Curve struct {
	Name  string `json:"name"`  // also the name of its plot
	Title string `json:"title"` // what was measured
	Load  string `json:"load"`  // how
	X     string `json:"x"`     // axis
	// LogX and LogY make the axis logarithmic.
	LogX  bool   `json:"logX,omitempty"`
	LogY  bool   `json:"logY,omitempty"`
	Lines []Line `json:"lines"`
	Note  string `json:"note,omitempty"`
}

// Line is one system's points, in order of X.
type Line struct {
	Name   string  `json:"name"`
	Points []Point `json:"points"`
}

// Point is one load on one system. Use and latencies are medians over the rounds.
type Point struct {
	X       float64        `json:"x"`
	Label   string         `json:"label"`
	Samples []float64      `json:"samples"` // operations per second, round by round
	Millis  Latency        `json:"latency"`
	Use     limits.Use     `json:"use"`
	Limits  []limits.Limit `json:"limits"` // all known ones
}

// Distribution is the latency distribution of one system's operations.
type Distribution struct {
	System    string     `json:"system"`
	Quantiles []Quantile `json:"quantiles"` // ascending
}

// Quantile is a latency that the share At, from 0 to 1, of the operations did not exceed.
type Quantile struct {
	At     float64 `json:"at"`
	Millis float64 `json:"millis"`
}

// Curve returns the curve with that name, or nil if it was not measured.
func (s *Study) Curve(name string) *Curve {
	for i := range s.Curves {
		if s.Curves[i].Name == name {
			return &s.Curves[i]
		}
	}
	return nil
}

// LoadStudy reads a study from a file.
func LoadStudy(path string) (*Study, error) { return load[Study](path) }

// Save writes the study to a file.
func (s *Study) Save(path string) error { return save(path, s) }

func load[T any](path string) (*T, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	v := new(T)
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return v, nil
}

func save(path string, what any) error {
	b, err := json.MarshalIndent(what, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
