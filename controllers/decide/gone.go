package decide

import (
	"fmt"
	"slices"
	"strings"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
)

// allGone says what to do if nobody holds anything any more; "" if somebody may. That takes the word of every member, not
// only of those that the record names: a member that does not vote may have the only copy.
func (d *decision) allGone(rec Record, ev evidence) string {
	if len(rec.Named()) == 0 || len(ev.without(rec.Named())) > 0 {
		return ""
	}
	for name, m := range d.Members {
		if h, answers := ev[name]; !m.waitsForClaim() && (!answers || !h.empty || h.seeding) {
			return ""
		}
	}
	return " Every member lost its volume: all data is gone. " + d.beginAnew()
}

// beginAnew describes the way out when nothing is left. If its claims were kept, a store made again would ask what they
// hold.
func (d *decision) beginAnew() string {
	return fmt.Sprintf("Delete the store and its claims (kubectl delete pvc -l %s=%s), and create it again: empty, or from copies of its volumes.",
		v1alpha1.LabelStore, d.Store.Name)
}

// goneAsleep says which members of a hibernating store lost their volumes, and what follows from that; "" if none did.
// Putting copies in their place is no way out for the store as it is: each copy would count as the voter that its volume
// was, whatever it lacks.
func (d *decision) goneAsleep(rec Record) string {
	var gone []string
	for _, name := range rec.Named() {
		if m := d.Members[name]; m.Pod == nil && !m.keepsVolume() {
			gone = append(gone, name)
		}
	}
	if len(gone) == 0 {
		return ""
	}
	slices.Sort(gone)
	text := fmt.Sprintf("The volumes of %s are gone with all their data. ",
		strings.Join(slices.Compact(gone), ", "))
	left := slices.ContainsFunc(d.byOrdinal(), func(m Member) bool { return m.Pod != nil || m.keepsVolume() })
	switch {
	case !left:
		return text + "If woken now, no member could lead: all data is gone. " + d.beginAnew()
	case d.enoughKept(rec):
		return text + "The others hold every acknowledged write: once woken, the store recreates these members and seeds them. Do not put copies in place of the volumes: " +
			"the store would trust them to hold what the volumes held."
	default:
		return text + "If woken now, the store recreates these members empty: acknowledged writes may be lost, and no member leads unless " +
			"spec.failover.dataLoss allows that. Do not put copies in place of the volumes: the store would trust them to hold what the volumes held. " +
			"From copies, the store can only be created again as a whole (docs/api.md, Copies of a store)."
	}
}

// keepsVolume reports whether the member has a claim that stays.
func (m Member) keepsVolume() bool {
	return m.Claim != nil && !m.Claim.Deleting && !m.Claim.Lost
}

// enoughKept reports whether the members that have their volumes suffice to hold everything that was acknowledged.
func (d *decision) enoughKept(rec Record) bool {
	kept := func(v replication.Voter) bool {
		m := d.Members[v.Member]
		return m.Pod != nil || m.keepsVolume()
	}
	return rec.fencedBy(kept) && len(rec.EveryMember) == 0
}
