package decide

import (
	"slices"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// manual reports whether only a person may make another member lead.
func (d *decision) manual() bool { return d.Store.Spec.Failover.Mode == v1alpha1.FailoverManual }

// mayLead lists who may lead next if the evidence alone does not decide. In mode Manual that is whoever led before, and
// whoever the current change or a person asks for. It returns nil if anybody may.
//
// Anybody may once a leader that may have served is being replaced at a person's request: followers take writes until each
// is fenced, so another one than the one asked for may come to hold most, and the store would be left without a leader.
func (d *decision) mayLead(rec Record) []string {
	begun, request := rec.Phase != PhaseStable, d.request()
	switch {
	case !d.manual(), request == v1alpha1.FailoverToAny, begun && (rec.From == "" || rec.Kind == v1alpha1.KindWake):
		return nil
	case begun && rec.Target == v1alpha1.FailoverToAny && request == "", begun && rec.deposes():
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

// chosen returns who is elected for rec: preferably a member that may lead, unless none of those would be elected or all are
// set aside. permitted reports whether the elected member may lead.
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

// wish returns who should lead among members that hold the same: whoever a person asks for, or the first that may lead and
// was not set aside.
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
