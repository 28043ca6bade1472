package picture

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// Report writes the report of one change of leader to w.
func Report(w io.Writer, r *api.FailoverReport) error {
	var b strings.Builder
	report(&b, r)
	return write(w, b.String())
}

func report(b *strings.Builder, r *api.FailoverReport) {
	fmt.Fprintf(b, "%s of epoch %d: %s", r.Kind, r.Epoch, r.Result)
	if r.From != "" || r.To != "" {
		fmt.Fprintf(b, ", %s -> %s", orElse(r.From, "nobody"), orElse(r.To, "nobody yet"))
	}
	if r.Reason != "" {
		fmt.Fprintf(b, " (%s)", r.Reason)
	}
	b.WriteString("\n")
	if r.Message != "" {
		fmt.Fprintf(b, "  %s\n", r.Message)
	}
	if r.WritesLost != "" {
		fmt.Fprintf(b, "  Acknowledged writes lost: %s\n", r.WritesLost)
	}
	timeline(b, r)
	compared(b, r.Positions)
}

// timeline writes the steps, each with the time since the previous one and a bar for its share of the whole.
func timeline(b *strings.Builder, r *api.FailoverReport) {
	if r.DetectedTime == nil {
		return
	}
	steps := []struct {
		what string
		at   *metav1.MicroTime
	}{{"fenced", r.FencedTime}, {"promoted", r.PromotedTime}, {"writable", r.WritableTime}}

	fmt.Fprintf(b, "  %s  detected\n", r.DetectedTime.UTC().Format("2006-01-02 15:04:05.000"))
	last := r.DetectedTime
	for _, s := range steps {
		if s.at == nil {
			fmt.Fprintf(b, "  %23s  %s\n", "not yet", s.what)
			return
		}
		took := s.at.Sub(last.Time)
		fmt.Fprintf(b, "  %23s  %-10s%s\n", "+"+took.Round(time.Millisecond).String(), s.what, share(took, r))
		last = s.at
	}
	fmt.Fprintf(b, "  %23s  total\n", last.Sub(r.DetectedTime.Time).Round(time.Millisecond))
}

// shareCells is the width of the bar of a step that took the whole time.
const shareCells = 24

func share(took time.Duration, r *api.FailoverReport) string {
	if r.WritableTime == nil {
		return ""
	}
	whole := r.WritableTime.Sub(r.DetectedTime.Time)
	if whole <= 0 || took <= 0 {
		return ""
	}
	cells := int(took * shareCells / whole)
	return strings.Repeat("█", max(1, min(cells, shareCells)))
}

// compared writes what each member brought into the election.
func compared(b *strings.Builder, all []api.ComparedPosition) {
	if len(all) == 0 {
		return
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  MEMBER\tPOSITION\tFENCED\tVOTER\tNOTE")
	for _, p := range all {
		mark := " "
		if p.Chosen {
			mark = ">"
		}
		where := position(p.Epoch, p.Position)
		if !p.Fenced {
			where = "unknown"
		}
		fmt.Fprintf(t, "%s %s\t%s\t%s\t%s\t%s\n", mark, p.Member, where, yesNo(p.Fenced), yesNo(p.Voter), p.Note)
	}
	_ = t.Flush() // never fails: it writes to a strings.Builder
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
