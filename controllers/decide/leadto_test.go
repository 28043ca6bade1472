package decide

import (
	"slices"
	"testing"
)

// A node that restarts reassigns its pods' addresses, and the cache may not know yet that a member's former address belongs
// to another store now: clients are routed only to where the member itself has answered.
func TestClientsAreLedToWhereTheMemberAnswered(t *testing.T) {
	here, old := Route{"u1", "10.0.0.1"}, Route{"u1", "10.0.0.9"}
	other := Route{"u2", "10.0.0.2"}
	to, nobody := []Action{RouteClients{"orders-1"}}, []Action{RouteClients{}}
	for name, tc := range map[string]struct {
		probe Probe
		route *Route
		want  []Action
		taken bool
	}{
		"it has answered there":                             {Probe{}, &old, to, false},
		"it has, and is led to":                             {Probe{}, &here, nil, false},
		"not yet, and clients are led there":                {Probe{Unmet: true}, &here, nil, false},
		"not yet, and clients are led to another member":    {Probe{Unmet: true}, &other, nil, false},
		"not yet, and clients are led where nobody is now":  {Probe{Unmet: true}, &old, nobody, false},
		"not yet, and clients are led nowhere":              {Probe{Unmet: true}, &Route{}, nil, false},
		"somebody else has, and clients are led there":      {Probe{Unmet: true, Foreign: true}, &here, nobody, false},
		"somebody else has, and clients are led nowhere":    {Probe{Unmet: true, Foreign: true}, &Route{}, nil, false},
		"somebody else has, and clients are led to another": {Probe{Unmet: true, Foreign: true}, &other, nil, false},
		"the Service is not ours, and leads there":          {Probe{}, &here, nobody, true},
		"the Service is not ours, and leads elsewhere":      {Probe{}, &old, nobody, true},
		"the Service is not ours, and leads nowhere":        {Probe{}, &Route{}, nil, true},
		"the Service is not ours, and never led anywhere":   {Probe{}, nil, nil, true},
	} {
		d := &decision{Observed: Observed{Route: tc.route, ServiceTaken: tc.taken, Members: map[string]Member{
			"orders-1": {Name: "orders-1", Pod: &Pod{UID: here.UID, IP: here.IP}, Probe: tc.probe},
			"orders-2": {Name: "orders-2", Pod: &Pod{UID: other.UID, IP: other.IP}},
		}}}
		if got := d.leadTo("orders-1"); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
