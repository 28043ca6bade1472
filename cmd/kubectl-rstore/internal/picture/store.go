// Package picture renders a store's status as text for people. It is pure: the same status and time give the same text.
package picture

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// Store writes everything about one store to w. Ages are relative to now.
func Store(w io.Writer, s *api.ReplicatedStore, now time.Time) error {
	var b strings.Builder
	headline(&b, s, now)
	members(&b, s)
	conditions(&b, s.Status.Conditions, now)
	if r := s.Status.LastFailover; r != nil {
		b.WriteString("\n")
		report(&b, r)
	}
	if r := s.Status.FailoverRequest; r != nil {
		fmt.Fprintf(&b, "\nLast request: leader %q: %s%s\n", r.Target, r.Result, reasoned(r.Message))
	}
	return write(w, b.String())
}

// write writes text to w, without the blanks that columns leave at the ends of lines.
func write(w io.Writer, text string) error {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n"))
	return err
}

func headline(b *strings.Builder, s *api.ReplicatedStore, now time.Time) {
	st := &s.Status
	fmt.Fprintf(b, "%s/%s  %s", s.Namespace, s.Name, orElse(string(st.Phase), "not seen by the operator yet"))
	switch {
	case st.Leader == "" && st.Epoch > 0:
		fmt.Fprintf(b, "  no leader, epoch %d", st.Epoch)
	case st.Leader != "":
		fmt.Fprintf(b, "  %s leads epoch %d", st.Leader, st.Epoch)
		if st.LeaderSince != nil {
			fmt.Fprintf(b, " for %s", age(st.LeaderSince.Time, now))
		}
	}
	b.WriteString("\n  " + acknowledgement(s) + "\n")
	f := s.Spec.Failover
	fmt.Fprintf(b, "  Failover %s, data loss %s", f.Mode, f.DataLoss)
	if f.MaxLostWrites != nil {
		fmt.Fprintf(b, " to %d writes", *f.MaxLostWrites)
	}
	fmt.Fprintf(b, ", lease %ds; reads %s.\n", s.Spec.LeaseDuration(), s.Spec.Reads.Consistency)
	if c := st.Counters; c.Failovers+c.Handovers+c.Failed > 0 {
		fmt.Fprintf(b, "  So far %d failovers (%d lost or may have lost writes), %d handovers, %d failed attempts.\n",
			c.Failovers, c.Lossy, c.Handovers, c.Failed)
	}
	if st.ObservedGeneration != s.Generation {
		b.WriteString("  The operator has not applied the latest spec yet.\n")
	}
}

// acknowledgement says when a write is acknowledged.
func acknowledgement(s *api.ReplicatedStore) string {
	if s.Status.Epoch == 0 {
		return "No leader has been elected yet."
	}
	rule := s.Status.Replication
	if s.Status.Leader == "" {
		return "No member leads: no write is acknowledged." + before(rule)
	}
	text := "A write is acknowledged by the leader alone (asynchronous)."
	if rule.Number > 0 {
		text = fmt.Sprintf("A write is on the leader and %d of %d voters before it is acknowledged.", rule.Number, len(rule.Voters))
	}
	if rule.Degraded {
		text += fmt.Sprintf(" LOWERED from %d (Preferred).", s.Spec.SynchronousNumber())
	}
	if rule.Changing {
		text += " The rule is changing: the older one still applies too."
	}
	return text
}

// before says which members had to have a write while the newest leader led, if that is known.
func before(rule api.ReplicationStatus) string {
	switch {
	case rule.Number > 0:
		return fmt.Sprintf(" Before, a write was on the leader and %d of %d voters.", rule.Number, len(rule.Voters))
	case len(rule.Voters) > 0:
		return " Before, the leader alone acknowledged writes (asynchronous)."
	default:
		return ""
	}
}

// members writes one line for each member.
func members(b *strings.Builder, s *api.ReplicatedStore) {
	if len(s.Status.Members) == 0 {
		b.WriteString("\nNo members yet.\n")
		return
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  MEMBER\tROLE\tSTATE\tPOSITION\tBEHIND\t\tNODE")
	for _, m := range s.Status.Members {
		mark := " "
		if m.Name == s.Status.Leader {
			mark = "*"
		}
		fmt.Fprintf(t, "%s %s\t%s\t%s\t%s\t%s\t%s\t%s\n", mark, m.Name, orElse(string(m.Role), "-"), state(m),
			position(m.Epoch, m.Position), behind(m), bar(m), place(m))
	}
	_ = t.Flush() // never fails: it writes to a strings.Builder
	for _, m := range s.Status.Members {
		if m.Problem != "" {
			fmt.Fprintf(b, "  %s: %s\n", m.Name, m.Problem)
		}
		if m.Quarantined > 0 {
			fmt.Fprintf(b, "  %s: %d entries cut from its log are kept in quarantine files.\n", m.Name, m.Quarantined)
		}
	}
}

func state(m api.MemberStatus) string {
	if g := m.Seeding; g != nil {
		text := fmt.Sprintf("seeding %d%% (%s of %s", g.Percent, orElse(g.Done, "?"), orElse(g.Total, "?"))
		if g.Rate != "" {
			text += " at " + g.Rate
		}
		if g.TimeLeft != "" {
			text += ", " + g.TimeLeft + " left"
		}
		return text + ")"
	}
	word := "not ready"
	if m.Ready {
		word = "ready"
	}
	if m.Voter {
		word += ", voter"
	}
	return word
}

func place(m api.MemberStatus) string {
	if m.Zone == "" {
		return orElse(m.Node, "-")
	}
	return fmt.Sprintf("%s (%s)", orElse(m.Node, "-"), m.Zone)
}

func behind(m api.MemberStatus) string {
	if m.Lag == nil {
		return "-"
	}
	return fmt.Sprint(*m.Lag)
}

// barCells is the width of a member's bar. A full bar means caught up; each decimal digit of the lag removes one cell.
const barCells = 8

func bar(m api.MemberStatus) string {
	full := barCells
	switch {
	case m.Role == api.MemberUnknown || m.Lag == nil && m.Role != api.MemberLeader:
		full = 0
	case m.Lag != nil:
		for lag := *m.Lag; lag > 0 && full > 0; lag /= 10 {
			full--
		}
	}
	return strings.Repeat("█", full) + strings.Repeat("░", barCells-full)
}

func conditions(b *strings.Builder, all []metav1.Condition, now time.Time) {
	if len(all) == 0 {
		return
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  CONDITION\tSTATUS\tFOR\tREASON\tMESSAGE")
	for _, c := range all {
		mark := " "
		if worrying(c) {
			mark = "!"
		}
		fmt.Fprintf(t, "%s %s\t%s\t%s\t%s\t%s\n", mark, c.Type, c.Status, age(c.LastTransitionTime.Time, now), c.Reason, c.Message)
	}
	_ = t.Flush()
}

// worrying reports whether a condition needs attention. Ready, Available and Spread should be True; Degraded, FailoverBlocked and
// Resizing should be False. Progressing may be either, but the reason ApplyFailed needs attention.
func worrying(c metav1.Condition) bool {
	switch c.Type {
	case api.ConditionReady, api.ConditionAvailable, api.ConditionSpread:
		return c.Status != metav1.ConditionTrue
	case api.ConditionDegraded, api.ConditionFailoverBlocked, api.ConditionResizing:
		return c.Status == metav1.ConditionTrue
	case api.ConditionProgressing:
		return c.Reason == api.ReasonApplyFailed
	default:
		return false
	}
}

func position(epoch, position int64) string { return fmt.Sprintf("%d/%d", epoch, position) }

func age(t, now time.Time) string { return duration.HumanDuration(max(0, now.Sub(t))) }

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func reasoned(message string) string {
	if message == "" {
		return "."
	}
	return ": " + strings.TrimSuffix(message, ".") + "."
}
