package decide

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/replication"
)

// setForeignApart discards the answers of members whose data directory served another store and is not part of this one yet:
// neither an epoch that they promised there nor what they hold is evidence about this store. If there is no record, the
// volumes that an earlier store left are the store, and everybody counts.
func (d *decision) setForeignApart() {
	rec := d.Lease.Record
	if rec == nil {
		return
	}
	members := maps.Clone(d.Members)
	for name, m := range members {
		s := m.Probe.Status
		if s == nil || s.DataUID == "" || s.DataUID == string(d.Store.UID) || slices.Contains(rec.Stores, types.UID(s.DataUID)) {
			continue
		}
		v := replication.Voter{Member: name, Incarnation: s.Incarnation}
		if slices.Contains(rec.EveryMember, name) || d.countsOn(*rec, v) {
			continue
		}
		m.Foreign, m.Probe.Reach, m.Probe.Status = true, Unknown, nil
		members[name] = m
	}
	d.Members = members
}

// servedStores returns the UIDs of the stores that the members' volumes have served, as far as the members answer.
func (d *decision) servedStores() []types.UID {
	var out []types.UID
	for _, m := range d.byOrdinal() {
		if s := m.fresh(); s != nil && s.DataUID != "" && !slices.Contains(out, types.UID(s.DataUID)) {
			out = append(out, types.UID(s.DataUID))
		}
	}
	return out
}

// countsOn reports whether the record names this very incarnation, as a leader or a voter.
func (d *decision) countsOn(rec Record, v replication.Voter) bool {
	for _, l := range rec.Leaderships() {
		if l.Leader == v || slices.ContainsFunc(l.Rules, func(r replication.Rule) bool { return slices.Contains(r.Voters, v) }) {
			return true
		}
	}
	return false
}
