package decide

import (
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// follow points every member that does not follow the leader, or does not reach it, at the leader's present address. Once
// the record names the leader this is safe at any time: the order carries the epoch, and the leader's log decides what is
// truncated.
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

// route points the -rw Service to the recorded leader, whether or not Kubernetes considers it ready. Between two leaders the
// Service stays as it is. A Service that belongs to somebody else is pointed nowhere.
func (d *decision) route(rec Record) []Action {
	if d.ServiceTaken {
		return d.leadTo("")
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

// elsewherePatience is longer than another operator takes from routing clients away from a lost leader to replacing it.
const elsewherePatience = 3 * time.Second

// ledElsewhere reports whether clients have recently been routed to a member that this operator cannot reach, although it
// sees the leader. In that case another operator sees more and is about to replace the leader. Routing clients back would
// cost them a second; see leadTo.
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

// leadNowhere removes a route to an address that no member has any more while nobody leads: the address may belong to
// another store by now.
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

// leadTo points the -rw Service to a member, or nowhere if the member has no address, somebody else has answered there, or
// the Service belongs to somebody else.
//
// When a leader is lost this comes first, before it is certain who will be elected: clients that connect wait at that member
// until some member takes writes, and are then forwarded. Clients wait for the route, and kube-proxy applies changes only
// about once a second, so this change should be the first that a lost leader causes, ahead of those that its pod causes. If
// the leader turns out to be there after all, clients are forwarded to it.
func (d *decision) leadTo(member string) []Action {
	var want Route
	m := d.Members[member]
	if m.reachable() {
		want = Route{m.Pod.UID, m.Pod.IP}
	}
	switch {
	case d.ServiceTaken && (d.Route == nil || *d.Route == (Route{})):
		return nil
	case d.ServiceTaken:
		return []Action{RouteClients{}}
	case m.reachable() && m.Probe.Foreign && d.Route != nil && *d.Route == want:
		return []Action{RouteClients{}}
	case m.reachable() && (m.Probe.Foreign || m.Probe.Unmet):
		return d.leadNowhere() // its address may belong to another store by now
	case d.Route != nil && *d.Route == want:
		return nil
	case want == (Route{}):
		return []Action{RouteClients{}}
	default:
		return []Action{RouteClients{m.Name}}
	}
}

// successor is the member that would be elected if the leader were lost. It is "" until the leader stops answering the
// operator and no voter has heard it for some heartbeats, which is long before the leader is believed to be lost; and "" if
// nobody would be elected.
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

// labels makes each pod's role label say what the member itself says it does.
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
		return m.Pod.Role // between two leaders; it serves only while it is ready
	case s != nil:
		return "" // it says itself that it is neither
	case m.Pod.Role == v1alpha1.RoleLabelLeader && m.Name != rec.Leader.Member:
		return "" // another leader is recorded
	default:
		return m.Pod.Role // unknown: readiness, not a guess, takes it out of the Services
	}
}
