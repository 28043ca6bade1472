package decide

import (
	"time"

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

// route makes the -rw Service lead to the recorded leader, whatever Kubernetes thinks of its readiness. Between two leaders it stays
// as it is. A Service that is somebody else's leads nowhere.
func (d *decision) route(rec Record) []Action {
	if d.ServiceTaken {
		if d.Route == nil || *d.Route == (Route{}) {
			return nil
		}
		return []Action{RouteClients{}}
	}
	if rec.Phase != PhasePromoting && rec.Phase != PhaseStable {
		return d.leadNowhere()
	}
	if d.ahead != "" {
		return d.leadTo(d.ahead)
	}
	if d.ledElsewhere(rec) {
		return nil
	}
	return d.leadTo(rec.Leader.Member)
}

// elsewherePatience is longer than another operator takes from leading clients away from a lost leader to replacing it.
const elsewherePatience = 3 * time.Second

// ledElsewhere tells whether clients have been led, for a moment, to a member that this operator does not reach, although it sees the leader.
// Another one sees more, then, and is about to replace that leader: to lead them back would cost them a second, see leadTo.
func (d *decision) ledElsewhere(rec Record) bool {
	if rec.Phase != PhaseStable || d.Route == nil {
		return false
	}
	for _, m := range d.Members {
		if m.Pod != nil && m.Name != rec.Leader.Member && (Route{m.Pod.UID, m.Pod.IP}) == *d.Route {
			return m.fresh() == nil && !d.lasting("clients are led to "+m.Name, elsewherePatience)
		}
	}
	return false
}

// leadNowhere ends a way to an address that no member has any more, while nobody leads: it may be another store's by now.
func (d *decision) leadNowhere() []Action {
	if d.Route == nil || *d.Route == (Route{}) {
		return nil
	}
	for _, m := range d.Members {
		if m.Pod != nil && (Route{m.Pod.UID, m.Pod.IP}) == *d.Route {
			return nil
		}
	}
	return []Action{RouteClients{}}
}

// leadTo makes the -rw Service lead to a member, to nobody where it has no address or somebody else has answered at it. When a leader is
// lost that is the first thing to do, before it is sure who is elected: whoever comes waits there until somebody takes writes, and is forwarded then. For clients wait
// for this, and kube-proxy takes changes only about once a second: it should be the first one that a lost leader causes, and not come
// after those that its pod causes. Should the leader be there after all, they are forwarded to it.
func (d *decision) leadTo(member string) []Action {
	var want Route
	m := d.Members[member]
	if m.reachable() {
		want = Route{m.Pod.UID, m.Pod.IP}
	}
	switch {
	case m.reachable() && m.Probe.Foreign && d.Route != nil && *d.Route == want:
		return []Action{RouteClients{}}
	case m.reachable() && (m.Probe.Foreign || m.Probe.Unmet):
		return d.leadNowhere() // its address may be another store's by now
	case d.Route != nil && *d.Route == want:
		return nil
	case want == (Route{}):
		return []Action{RouteClients{}}
	default:
		return []Action{RouteClients{m.Name}}
	}
}

// successor is who would be elected if the leader were lost, once it does not answer the operator and no voter has heard it for some
// heartbeats, which is long before that is believed; "" until then, and where nobody would be.
func (d *decision) successor(rec Record) string {
	c := d.contact(rec)
	unheard := c.faint + c.silent + c.parted + c.refused
	if c.heard > c.faint || unheard == 0 || d.Store.Spec.Failover.Mode == v1alpha1.FailoverManual {
		return ""
	}
	ev := d.helpful(rec, rec.Aside, d.foreseen())
	if _, g := d.fenceGate(rec, ev); g != nil {
		return ""
	}
	rec.Target = d.request()
	chosen, g := d.elect(rec, ev)
	if g != nil {
		return ""
	}
	return chosen.voter.Member
}

// labels makes the role label of every pod say what the member itself says it does.
func (d *decision) labels(rec Record) []Action {
	var out []Action
	for _, m := range d.byOrdinal() {
		if m.Pod == nil || m.Pod.Departed || m.Pod.Deleting && m.Pod.Role == "" {
			continue
		}
		if want := d.roleLabel(rec, m); want != m.Pod.Role {
			out = append(out, LabelPod{m.Name, want})
		}
	}
	return out
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
