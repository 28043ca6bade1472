package decide

import (
	"slices"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// manual tells whether nobody but a person makes another member lead.
func (d *decision) manual() bool { return d.Store.Spec.Failover.Mode == v1alpha1.FailoverManual }

// mayLead lists who may lead next, where that is not for the evidence alone to say: in mode Manual, who led before, and whom the change
// that is under way, or a person, asks for; nil for anybody.
func (d *decision) mayLead(rec Record) []string {
	begun, request := rec.Phase != PhaseStable, d.request()
	switch {
	case !d.manual(), request == v1alpha1.FailoverToAny, begun && (rec.From == "" || rec.Kind == v1alpha1.KindWake):
		return nil
	case begun && rec.Target == v1alpha1.FailoverToAny && request == "":
		return nil
	}
	named := []string{request, rec.Leader.Member}
	if begun {
		named = append(named, rec.Target, rec.From)
	}
	may := []string{}
	for _, m := range named {
		if m != "" && m != v1alpha1.FailoverToAny && !slices.Contains(may, m) {
			may = append(may, m)
		}
	}
	return may
}

// chosen is who is elected for rec: one of those that may lead, unless none of them would be, or they are set aside. permitted tells whether
// he may.
func (d *decision) chosen(rec Record, ev evidence) (best holding, permitted bool, g *gate) {
	best, g = d.elect(rec, ev)
	may := d.mayLead(rec)
	if g != nil || may == nil || slices.Contains(may, best.voter.Member) {
		return best, true, g
	}
	for _, m := range may {
		if rec.Target = m; slices.Contains(rec.Aside, m) {
			continue
		}
		if h, g := d.elect(rec, ev); g == nil && h.voter.Member == m {
			return h, true, nil
		}
	}
	return best, false, nil
}

// wish is who is to lead among those that hold the same: whom a person asks for, or the first that may lead and was not set aside.
func (d *decision) wish(rec Record, aside []string) string {
	if request := d.request(); request != "" {
		return request
	}
	for _, m := range d.mayLead(rec) {
		if !slices.Contains(aside, m) {
			return m
		}
	}
	return ""
}
