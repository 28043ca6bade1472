package decide

import (
	"slices"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// manual tells whether nobody but a person makes another member lead.
func (d *decision) manual() bool { return d.Store.Spec.Failover.Mode == v1alpha1.FailoverManual }

// unasked lists who may lead next, where that is not for the evidence alone to say: in mode Manual, while nobody asks for a leader, who led
// before, and whom the change that is under way is for; nil for anybody.
func (d *decision) unasked(rec Record) []string {
	begun := rec.Phase != PhaseStable
	switch {
	case !d.manual(), d.request() != "", begun && (rec.From == "" || rec.Kind == v1alpha1.KindWake || rec.Target == v1alpha1.FailoverToAny):
		return nil
	case begun:
		return slices.DeleteFunc([]string{rec.Leader.Member, rec.Target, rec.From}, func(m string) bool { return m == "" })
	default:
		return []string{rec.Leader.Member}
	}
}

// wish is who is to lead among those that hold the same: whom a person asks for, or the first of unasked that was not set aside.
func (d *decision) wish(rec Record, aside []string) string {
	if request := d.request(); request != "" {
		return request
	}
	for _, m := range d.unasked(rec) {
		if !slices.Contains(aside, m) {
			return m
		}
	}
	return ""
}
