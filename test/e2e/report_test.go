//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
)

// row is a row of the report: one case.
type row struct {
	Case   string `json:"case"`
	Result string `json:"result"` // passed, failed, left out
	// GapMillis is the longest time without an acknowledged write since the fault, or -1 if the case has no load.
	GapMillis    int64 `json:"gapMillis"`
	Acknowledged int64 `json:"acknowledged"`
	Unknown      int64 `json:"unknown"` // writes whose error leaves the outcome open
	Lost         int64 `json:"lost"`
	// Leaderships is the number of leaderships seen, LeadersPerEpoch the most members that claimed the same one.
	Leaderships     int      `json:"leaderships"`
	LeadersPerEpoch int      `json:"leadersPerEpoch"`
	Conditions      []string `json:"conditions,omitempty"` // what an administrator would have read, as asserted
	Note            string   `json:"note,omitempty"`
	Seconds         float64  `json:"seconds"`
	Commit          string   `json:"commit"`
	At              string   `json:"at"`
}

// rows holds the rows of this run, by the spec's full text.
var rows = struct {
	sync.Mutex
	of map[string]*row
}{of: map[string]*row{}}

// rowOf returns the row of the running spec.
func rowOf() *row {
	rows.Lock()
	defer rows.Unlock()
	name := CurrentSpecReport().FullText()
	if rows.of[name] == nil {
		rows.of[name] = &row{Case: name, GapMillis: -1}
	}
	return rows.of[name]
}

// note adds a sentence to the row of the running spec.
func note(format string, args ...any) {
	r := rowOf()
	if r.Note != "" {
		r.Note += "; "
	}
	r.Note += fmt.Sprintf(format, args...)
}

var _ = ReportAfterSuite("write the report", func(_ SpecContext, r Report) {
	if world == nil {
		return
	}
	ran := finished(r)
	if len(ran) == 0 {
		return
	}
	fmt.Print("\n", table(ran))
	dir := filepath.Join(world.Root, "dist", "e2e")
	if err := saveReport(dir, ran); err != nil {
		AbortSuite("write the report: " + err.Error())
	}
	fmt.Printf("\n%s\n", filepath.Join(dir, "report.md"))
}, NodeTimeout(time.Minute))

// finished completes the rows with what is only known at the end of the run.
func finished(r Report) []row {
	rows.Lock()
	defer rows.Unlock()
	commit := commitHere()
	var out []row
	for _, s := range r.SpecReports {
		if s.LeafNodeType != types.NodeTypeIt {
			continue
		}
		one := row{Case: s.FullText(), GapMillis: -1}
		if known := rows.of[one.Case]; known != nil {
			one = *known
		}
		switch {
		case s.State == types.SpecStatePassed:
			one.Result = "passed"
		case s.State.Is(types.SpecStateFailureStates):
			one.Result = "failed"
		case s.State == types.SpecStateSkipped && s.Failure.Message != "": // by its own decision, not by the selection
			one.Result, one.Note = "left out", s.Failure.Message
		default:
			continue
		}
		one.Seconds, one.Commit, one.At = s.RunTime.Seconds(), commit, s.EndTime.UTC().Format(time.RFC3339)
		out = append(out, one)
	}
	return out
}

func commitHere() string {
	out, err := exec.Command("git", "-C", world.Root, "describe", "--always", "--dirty", "--match=-").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// saveReport merges the rows into those of earlier runs. The parts of a run form one report, and every row names its commit.
func saveReport(dir string, ran []row) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(dir, "report.json")
	merged := slices.Clone(ran)
	if text, err := os.ReadFile(path); err == nil {
		var before []row
		if err := json.Unmarshal(text, &before); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, b := range before {
			if !slices.ContainsFunc(ran, func(r row) bool { return r.Case == b.Case }) {
				merged = append(merged, b)
			}
		}
	}
	slices.SortFunc(merged, func(a, b row) int { return cmp.Compare(a.Case, b.Case) })
	text, err := json.MarshalIndent(merged, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "report.md"), []byte(table(merged)), 0o644)
}

// table formats rows as Markdown that is readable as plain text.
func table(all []row) string {
	lines := [][]string{{"fault", "result", "gap", "acknowledged", "lost", "leaderships", "leaders per epoch", "conditions read", "commit"}}
	for _, r := range all {
		line := []string{r.Case, r.Result, "-", "-", "-", "-", "-", strings.Join(r.Conditions, "; "), r.Commit}
		if r.GapMillis >= 0 {
			line[2] = fmt.Sprintf("%.1f s", float64(r.GapMillis)/1000)
			line[3], line[4] = fmt.Sprint(r.Acknowledged), fmt.Sprint(r.Lost)
			line[5], line[6] = fmt.Sprint(r.Leaderships), fmt.Sprint(r.LeadersPerEpoch)
		}
		if r.Note != "" {
			line[7] = strings.TrimPrefix(line[7]+"; "+r.Note, "; ")
		}
		lines = append(lines, line)
	}
	var b bytes.Buffer
	for i, line := range lines {
		for k, cell := range line {
			fmt.Fprintf(&b, "| %s ", strings.NewReplacer("|", "/", "\n", " ").Replace(cell))
			if k == len(line)-1 {
				b.WriteString("|\n")
			}
		}
		if i == 0 {
			b.WriteString(strings.Repeat("| --- ", len(line)) + "|\n")
		}
	}
	return b.String()
}
