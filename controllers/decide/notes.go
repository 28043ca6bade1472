package decide

import (
	"fmt"
	"strings"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Note is a fact about one member that deserves one event, when it is first seen.
type Note struct {
	// Key identifies the fact; it is the same in every pass that sees the fact.
	Key     string
	Member  string
	Warning bool
	Reason  string
	// AtFirst: it is told even by an operator that has just started, because nobody else may have.
	AtFirst bool
	// Action is what happened to the member, in one word.
	Action  string
	Message string
}

func reasonOf(problem string) string {
	for _, p := range problemReasons {
		if p.problem == problem {
			return p.reason
		}
	}
	return v1alpha1.ReasonMemberProblem
}

// ignored reports annotations that people have set and that have no effect. Who fenced a store with a value that does not
// fence it must not rely on that.
func (d *decision) ignored() (out []Note) {
	ignore := func(member, annotation, value, only string, works bool) {
		if value == "" || works || strings.EqualFold(value, "false") {
			return
		}
		out = append(out, Note{
			Key: fmt.Sprintf("annotation/%s/%s/%s", member, annotation, value), Member: member, Warning: true, AtFirst: true, Reason: v1alpha1.ReasonAnnotationIgnored, Action: "Check",
			Message: fmt.Sprintf("The annotation %s%s has the value %q, which has no effect: the only value that has one is %q.", annotation, prefixed(" of ", member), value, only),
		})
	}
	of := d.Store.Annotations
	ignore("", v1alpha1.AnnotationFenced, of[v1alpha1.AnnotationFenced], v1alpha1.FencedTrue, d.Store.Fenced())
	ignore("", v1alpha1.AnnotationReconcile, of[v1alpha1.AnnotationReconcile], v1alpha1.ReconcileDisabled, d.Store.Paused())
	for _, m := range d.byOrdinal() {
		if m.Pod != nil {
			ignore(m.Name, v1alpha1.AnnotationFenced, m.Pod.FencedAs, v1alpha1.FencedTrue, m.Pod.Fenced)
		}
	}
	return out
}

// notes reports annotations without effect, the snapshots that members receive, the seed budgets they have spent, and what is
// wrong with their volumes.
func (d *decision) notes() (out []Note) {
	out = d.ignored()
	for _, m := range d.byOrdinal() {
		s := m.fresh()
		if s == nil {
			continue
		}
		before := len(out)
		if n, ok := storageNote(m.Name, s); ok {
			out = append(out, n)
		}
		switch s.ProblemReason {
		case wire.ProblemDiskStuck, wire.ProblemLogDamaged, wire.ProblemVolumeOlder:
			out = append(out, Note{
				Key: "disk/" + m.Name + "/" + s.Incarnation + "/" + s.ProblemReason, Warning: true, Reason: reasonOf(s.ProblemReason), Action: "Check",
				Message: fmt.Sprintf("%s: %s.", m.Name, s.Problem),
			})
		}
		if x := s.Seeding; x != nil && x.ID != "" {
			out = append(out, Note{
				Key: "seed/" + m.Name + "/" + x.ID, Reason: v1alpha1.ReasonSeedBegun, Action: "Seed",
				Message: fmt.Sprintf("%s is receiving a snapshot of %s from %s, up to position %d.", m.Name, wire.Bytes(x.TotalBytes), x.From, x.Position),
			})
		}
		if s.ProblemReason == wire.ProblemSeedBudget {
			out = append(out, Note{
				Key: "budget/" + m.Name + "/" + s.Incarnation, Warning: true, Reason: v1alpha1.ReasonSeedBudgetSpent, Action: "Seed",
				Message: fmt.Sprintf("%s: %s. Raise spec.node.logRetention, or annotate its pod with %s.", m.Name, s.Problem, v1alpha1.AnnotationReseed),
			})
		}
		for i := before; i < len(out); i++ {
			out[i].Member = m.Name
		}
	}
	return out
}
