package role

import (
	"testing"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

func TestLeaving(t *testing.T) {
	with := func(live bool) map[string]wire.FollowerView { return map[string]wire.FollowerView{"m-2": {Live: live}} }
	leader, alone := wire.Status{Role: wire.RoleLeader, Leader: "m-1", Followers: with(true)}, wire.Status{Role: wire.RoleLeader, Leader: "m-1", Followers: with(false)}
	fenced, follower := wire.Status{Role: wire.RoleFenced}, wire.Status{Role: wire.RoleFollower, Leader: "m-2"}
	for name, tc := range map[string]struct {
		seen []wire.Status
		may  []bool
	}{
		"a leader is relieved":                {[]wire.Status{leader, leader, fenced, follower}, []bool{false, false, false, true}},
		"a leader loses its followers":        {[]wire.Status{leader, alone}, []bool{false, true}},
		"a leader whom nobody follows":        {[]wire.Status{alone}, []bool{true}},
		"a follower":                          {[]wire.Status{follower}, []bool{true}},
		"a member of a store that hibernates": {[]wire.Status{fenced}, []bool{true}},
	} {
		var l Leaving
		for i, s := range tc.seen {
			if got := l.May(s); got != tc.may[i] {
				t.Errorf("%s: look %d says %t", name, i+1, got)
			}
		}
	}
}
