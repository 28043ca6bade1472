package decide

import (
	"slices"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// follow points everybody who does not follow the leader, or does not reach it, at its present address. Once the record
// names the leader this is safe at any time: the order carries the epoch, and the leader's logs decide what is cut.
func (d *decision) follow(rec Record) []Action {
	leader := d.Members[rec.Leader.Member]
	address, ok := leader.peerAddress()
	s := leader.fresh()
	elected := s != nil && s.Incarnation == rec.Leader.Incarnation && s.Promised == rec.Epoch
	if rec.Phase == PhaseFencing || !ok || !leader.leads(rec) && !(rec.Phase == PhasePromoting && elected) {
		return nil
	}
	var out []Action
	for _, m := range d.byOrdinal() {
		s := m.fresh()
		if s == nil || m.Name == leader.Name || s.Promised > rec.Epoch {
			continue
		}
		if m.follows(rec) && (s.Contact != nil && s.Contact.Connected || s.Seeding != nil) {
			continue
		}
		out = append(out, FollowLeader{m.Name, wire.FollowRequest{Epoch: rec.Epoch, Leader: leader.Name, Address: address}})
	}
	return out
}

// labels makes the role label of every pod say what the member itself says it does. The leader's comes first: kube-proxy
// takes changes of a Service about once a second, so clients wait for the second change, and that should not be the one
// that brings them a leader. For that moment the -rw Service may lead to two; one of them is fenced, and refuses writes.
func (d *decision) labels(rec Record) []Action {
	var removals, leader []Action
	lead := d.Members[rec.Leader.Member]
	arrived := lead.Pod != nil && (lead.leads(rec) || lead.Pod.Role == v1alpha1.RoleLabelLeader)
	for _, m := range d.byOrdinal() {
		if m.Pod == nil || m.Pod.Deleting && m.Pod.Role == "" {
			continue
		}
		switch want := d.roleLabel(rec, m); {
		case want == m.Pod.Role:
		case m.Pod.Role == v1alpha1.RoleLabelLeader && !arrived: // nobody to lead clients to yet
		case want == v1alpha1.RoleLabelLeader:
			leader = append(leader, LabelPod{m.Name, want})
		default:
			removals = append(removals, LabelPod{m.Name, want})
		}
	}
	return slices.Concat(leader, removals)
}

func (d *decision) roleLabel(rec Record, m Member) string {
	s := m.fresh()
	switch {
	case m.leads(rec):
		return v1alpha1.RoleLabelLeader
	case m.follows(rec):
		return v1alpha1.RoleLabelFollower
	case m.Pod.Role == v1alpha1.RoleLabelFollower && rec.Phase != PhaseStable:
		return m.Pod.Role // between two leaders; it serves no longer than its readiness says
	case s != nil:
		return "" // it says itself that it does neither
	case m.Pod.Role == v1alpha1.RoleLabelLeader && m.Name != rec.Leader.Member:
		return "" // somebody else is recorded
	default:
		return m.Pod.Role // unknown: readiness takes it out of the Services, not a guess
	}
}
