// Package outcome is the result file of a run of pauses.
package outcome

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Report is the result of one run.
type Report struct {
	Faults []Fault `json:"faults"`
}

// Fault is one kind of fault with the outcome of each repetition.
type Fault struct {
	Name  string    `json:"name"`
	Times []Outcome `json:"times"`
}

// Outcome is the outcome of one fault.
type Outcome struct {
	// Pause is the longest time without an acknowledged write.
	Pause time.Duration `json:"pauseNanos"`
	// Failed counts writes that were refused or not sent; Unknown counts those of unknown outcome.
	Failed  int64 `json:"failed"`
	Unknown int64 `json:"unknown"`
	// Leaders counts new epochs.
	Leaders int64  `json:"leaders"`
	Report  string `json:"report,omitempty"` // of the failover, as the store told it
}

// Save writes the report to a file.
func (r *Report) Save(path string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encode what was measured: %w", err)
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// Load reads a report from a file.
func Load(path string) (*Report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return r, nil
}
