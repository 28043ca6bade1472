package decide

import (
	"fmt"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Note is a fact about one member that deserves one event, when it is first seen.
type Note struct {
	// Key names the fact; it is the same in every pass that sees it.
	Key     string
	Warning bool
	Reason  string
	Message string
}

// notes are the snapshots that members receive, and the budgets that they have spent.
func (d *decision) notes() (out []Note) {
	for _, m := range d.byOrdinal() {
		s := m.fresh()
		if s == nil {
			continue
		}
		if x := s.Seeding; x != nil && x.ID != "" {
			out = append(out, Note{
				Key: "seed/" + m.Name + "/" + x.ID, Reason: v1alpha1.ReasonSeedBegun,
				Message: fmt.Sprintf("%s receives a snapshot of %s from %s, up to position %d.", m.Name, bytes(x.TotalBytes), x.From, x.Position),
			})
		}
		if s.ProblemReason == wire.ProblemSeedBudget {
			out = append(out, Note{
				Key: "budget/" + m.Name + "/" + s.Incarnation, Warning: true, Reason: v1alpha1.ReasonSeedBudgetSpent,
				Message: fmt.Sprintf("%s: %s. Raise spec.node.logRetention, or annotate its pod with %s.", m.Name, s.Problem, v1alpha1.AnnotationReseed),
			})
		}
	}
	return out
}
