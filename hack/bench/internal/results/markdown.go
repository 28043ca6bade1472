package results

import (
	"fmt"
	"math"
	"os"
	"strings"
)

// Markdown formats the report as tables.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Machine: %s. %d interleaved rounds of about %.1f s a measurement; ratios are taken round by round: median (least to most).\n\n",
		r.Machine, r.Rounds, float64(r.PointMillis)/1000)
	b.WriteString("| load | ratio | measured | goal | verdict |\n| --- | --- | --- | --- | --- |\n")
	for i := range r.Contests {
		c := &r.Contests[i]
		for _, g := range c.Goals {
			s, met := c.Ratio(g)
			sign := ">="
			if g.AtMost {
				sign = "<="
			}
			fmt.Fprintf(&b, "| %s | %s / %s | %.2f (%.2f to %.2f) | %s %.1f | %s |\n", c.Name, g.Of, g.To, s.Median, s.Min, s.Max, sign, g.Bound, verdict(met))
		}
	}
	r.absolute(&b)
	r.facts(&b)
	return b.String()
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "**missed**"
}

// absolute writes the figures behind the ratios.
func (r *Report) absolute(b *strings.Builder) {
	b.WriteString("\n| load | system | median (least to most) | p50 ms | p99 ms | max ms |\n| --- | --- | --- | --- | --- | --- |\n")
	for i := range r.Contests {
		c := &r.Contests[i]
		for j, side := range c.Sides {
			s := SpreadOf(side.Samples)
			fmt.Fprintf(b, "| %s | %s | %s (%s to %s) %s |", c.Name, side.System, number(s.Median), number(s.Min), number(s.Max), c.Unit)
			if j < len(c.Millis) {
				l := c.Millis[j]
				fmt.Fprintf(b, " %s | %s | %s |\n", known(l.P50), known(l.P99), known(l.Max))
			} else {
				b.WriteString(" | | |\n")
			}
		}
	}
}

func (r *Report) facts(b *strings.Builder) {
	if len(r.Facts) == 0 {
		return
	}
	b.WriteString("\n| figure | store | beside it | goal | why |\n| --- | --- | --- | --- | --- |\n")
	for _, f := range r.Facts {
		goal := ""
		if f.Goal != "" {
			goal = f.Goal + ": " + verdict(f.Met)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", f.Name, f.Ours, f.Theirs, goal, f.Reason)
	}
}

// number formats f with three significant digits, or as an integer above a hundred.
func number(f float64) string {
	switch {
	case f == 0:
		return "0"
	case math.Abs(f) >= 100:
		return fmt.Sprintf("%.0f", f)
	case math.Abs(f) >= 10:
		return fmt.Sprintf("%.1f", f)
	default:
		return fmt.Sprintf("%.2f", f)
	}
}

// known formats a number, and 0 as blank.
func known(f float64) string {
	if f == 0 {
		return ""
	}
	return number(f)
}

// Document writes the tables between the report's markers in a Markdown file.
func (r *Report) Document(path string) error { return document(path, "measured", r.Markdown()) }

// document writes text between the markers with the given name.
func document(path, name, text string) error {
	begin, end := marker(name, "begin"), marker(name, "end")
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(old), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("%s has no lines %q and %q to put the tables between", path, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(path, []byte(before+begin+"\n"+text+"\n"+end+after), 0o644)
}

// marker is a line around the generated part of a document.
func marker(name, which string) string { return fmt.Sprintf("<!-- %s: %s -->\n", name, which) }
