package decide

import (
	"fmt"
	"slices"
	"strings"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
)

// held fences every member, and keeps it fenced for as long as the store is annotated.
func (d *decision) held(rec Record) Plan {
	if rec.Phase != PhaseFencing {
		target := ""
		if d.request() == "" { // otherwise the request will be refused
			target = d.wish(rec, rec.Aside)
		}
		next := rec.fencing(d.nextEpoch(rec), d.change(rec, v1alpha1.KindFailover, v1alpha1.ReasonFenced, target, ""))
		return plan(Held, v1alpha1.ReasonFenced, "The annotation %s asks to fence every member.", v1alpha1.AnnotationFenced).do(d.write(next))
	}
	var left []string
	for _, m := range d.byOrdinal() {
		if s := m.fresh(); s != nil && s.Promised < rec.Epoch {
			left = append(left, m.Name)
		}
	}
	p := plan(Held, v1alpha1.ReasonFenced, "The annotation %s keeps every member fenced.", v1alpha1.AnnotationFenced)
	if unshown := d.unshown(rec); unshown != "" {
		p.Message = fmt.Sprintf("The annotation %s keeps every member that answers fenced. %s", v1alpha1.AnnotationFenced, unshown)
	}
	switch request := d.request(); {
	case len(left) > 0 && d.Pass.FencedEpoch != rec.Epoch:
		return p.do(FenceMembers{rec.Epoch, left})
	case request != "":
		return d.refuse(request, "the annotation "+v1alpha1.AnnotationFenced+" keeps members fenced")
	default:
		return p
	}
}

// unshown says which leadership may still acknowledge writes although it should be fenced; "" if none can.
func (d *decision) unshown(rec Record) string {
	ev := evidence{}
	for name, m := range d.Members {
		if s := m.fresh(); s != nil && s.Promised >= rec.Epoch {
			ev[name] = holding{voter: replication.Voter{Member: name, Incarnation: s.Incarnation}, seeding: s.NeedSeed}
		}
	}
	if missing := ev.without(rec.EveryMember); len(missing) > 0 {
		return fmt.Sprintf("The authority record was lost, so the leader is unknown: until %s is fenced too, writes may still be acknowledged.",
			strings.Join(missing, " and "))
	}
	for _, l := range rec.Leaderships() {
		alone := !slices.ContainsFunc(l.Rules, func(r replication.Rule) bool { return r.K > 0 })
		if l.Inert() || l.Fenced(ev.has) || alone && d.expiredBeyondDoubt() {
			continue
		}
		if alone {
			return fmt.Sprintf("%s is not fenced: until it is, or its Lease has surely expired, it may still acknowledge writes in epoch %d.",
				l.Leader.Member, l.Epoch)
		}
		return fmt.Sprintf("%s is not fenced, nor are enough of its voters: until that changes, it may still acknowledge writes in epoch %d.",
			l.Leader.Member, l.Epoch)
	}
	return ""
}
