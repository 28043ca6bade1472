package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/quantile"
	"github.com/replicatedstore/replicatedstore/hack/soak/internal/faults"
	"github.com/replicatedstore/replicatedstore/hack/soak/internal/reports"
)

// row is one row of the table: the effects of one kind of fault on both stores.
type row struct {
	kind              faults.Kind
	count             int
	gaps, again       []time.Duration
	changes, reported int
	longestTillWhole  time.Duration
}

// rows sums up faults by kind. A change of leader is attributed to the newest fault that had begun before it.
func rows(injected []injected, changes []reports.Change) []row {
	byKind := map[faults.Kind]*row{}
	for _, k := range faults.Kinds {
		byKind[k] = &row{kind: k}
	}
	for _, x := range injected {
		r := byKind[x.Kind]
		r.count++
		for _, s := range x.Stores {
			r.gaps, r.again = append(r.gaps, s.Gap), append(r.again, s.Again)
		}
		if !x.Whole.IsZero() { // else the run ended there and failed
			r.longestTillWhole = max(r.longestTillWhole, x.Whole.Sub(x.Mended))
		}
	}
	for _, c := range changes {
		for _, x := range slices.Backward(injected) {
			if !x.Begun.After(c.Begun) {
				r := byKind[x.Kind]
				r.changes++
				if c.Missing == "" {
					r.reported++
				}
				break
			}
		}
	}
	var out []row
	for _, k := range faults.Kinds {
		out = append(out, *byKind[k])
	}
	return out
}

func median(d []time.Duration) time.Duration { return quantile.Of(d).At(0.5) }

func worst(d []time.Duration) time.Duration { return quantile.Of(d).At(1) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

// table writes the same table for the terminal and, because of its bars, for Markdown.
func table(out io.Writer, all []row) error {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| fault\t| count\t| gap median\t| gap worst\t| again after: median\t| worst\t| whole after\t| failovers\t| reported\t|")
	fmt.Fprintln(w, "| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t|")
	for _, r := range all {
		fmt.Fprintf(w, "| %s\t| %d\t| %s\t| %s\t| %s\t| %s\t| %s\t| %d\t| %d\t|\n", r.kind, r.count, seconds(median(r.gaps)), seconds(worst(r.gaps)),
			seconds(median(r.again)), seconds(worst(r.again)), seconds(r.longestTillWhole), r.changes, r.reported)
	}
	return w.Flush()
}

// summary prints the table and the verdict, and writes summary.md.
func (t *teller) summary(s *soak, lasted time.Duration, v verdict) error {
	var text strings.Builder
	fmt.Fprintf(&text, "# Soak of %v, seed %d\n\n", lasted.Round(time.Second), s.seed)
	fmt.Fprintf(&text, "Begun %s. Gaps are of each store for each fault: the longest time without an acknowledged write;\n", s.begun.Format(time.RFC3339))
	fmt.Fprintf(&text, "\"again after\" is from the fault to the end of that time; \"whole after\" the longest time from mending to whole.\n\n")
	if err := table(&text, rows(s.injected, v.changes)); err != nil {
		return err
	}
	reported, led := 0, 0
	for _, c := range v.changes {
		if c.Led {
			led++
		}
		if c.Missing == "" {
			reported++
		}
	}
	fmt.Fprintf(&text, "\n- history: %v\n", v.history)
	fmt.Fprintf(&text, "- clients of registers: %d writes acknowledged, %d unknown, %d reads, %d of them at members that need not lead; %d more refused\n", v.load.Writes, v.load.Unknown, v.load.Reads, v.load.Asked, v.load.Refused)
	fmt.Fprintf(&text, "- errors they saw: %s\n", counts(v.load.Errors))
	fmt.Fprintf(&text, "- followers: %d reads, %d breaches of monotonic prefix reads\n", v.views.count, len(v.views.breaches))
	fmt.Fprintf(&text, "- ledger: %v, on members %s; %d failed, %d unknown\n", v.ledger, strings.Join(v.ledger.Members, ", "), v.ledger.Failed, v.ledger.Unknown)
	fmt.Fprintf(&text, "- epochs: %d new ones, %d of them led, %d reported\n", len(v.changes), led, reported)
	fmt.Fprintf(&text, "- faults: %d\n", len(s.injected))
	if len(s.breaches) == 0 {
		fmt.Fprintf(&text, "\nPASSED: history linearizable, lost %d, every failover reported.\n", v.ledger.Lost)
	} else {
		fmt.Fprintf(&text, "\nFAILED:\n\n")
		for _, b := range s.breaches {
			fmt.Fprintf(&text, "- %s\n", b)
		}
	}
	t.mu.Lock()
	fmt.Fprintf(t.out, "\n%s\nevidence: %s\n", text.String(), s.dir)
	t.mu.Unlock()
	return os.WriteFile(filepath.Join(s.dir, "summary.md"), []byte(text.String()), 0o644)
}
