package decide

import (
	"testing"

	"github.com/replicatedstore/replicatedstore/replication"
)

// Earlier leaderships are settled only if a later leadership's own leader answers with at least the log that it was
// elected with.
func TestWhatALaterLeaderSettles(t *testing.T) {
	voter := func(m string) replication.Voter { return replication.Voter{Member: m, Incarnation: m + "-1"} }
	start := replication.Mark{Epoch: 1, Position: 70}
	rec := Record{Epoch: 4, Phase: PhaseFencing, Binding: []replication.Leadership{
		{Epoch: 1, Leader: voter("a"), Rules: []replication.Rule{{}}},
		{Epoch: 2, Leader: voter("b"), Rules: []replication.Rule{{}}, Start: start},
		{Epoch: 3, Leader: voter("c"), Rules: []replication.Rule{{}}, Start: start},
	}}
	held := func(m string, e replication.Epoch, p replication.Position) evidence {
		return evidence{m: {voter: voter(m), last: replication.Mark{Epoch: e, Position: p}}}
	}
	reborn, seeding := held("c", 3, 80), held("c", 3, 80)
	reborn["c"] = holding{voter: replication.Voter{Member: "c", Incarnation: "c-2"}, last: reborn["c"].last}
	seeding["c"] = holding{voter: voter("c"), last: seeding["c"].last, seeding: true}
	for name, tc := range map[string]struct {
		ev   evidence
		from replication.Epoch // epoch of the oldest unsettled leadership
	}{
		"nobody answers":                     {evidence{}, 1},
		"the newest, with its own log":       {held("c", 3, 80), 3},
		"the newest, not told to lead yet":   {held("c", 1, 70), 3},
		"the newest, with less":              {held("c", 1, 69), 1},
		"the newest, of another incarnation": {reborn, 1},
		"the newest, being seeded":           {seeding, 1},
		"the one before":                     {held("b", 2, 71), 2},
		"the oldest":                         {held("a", 1, 90), 1},
		"another one with as much":           {held("d", 3, 80), 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.ev.unsettled(rec)[0].Epoch; got != tc.from {
				t.Errorf("from epoch %d, want %d", got, tc.from)
			}
		})
	}
	for i := range rec.Binding {
		rec.Binding[i].Start = replication.Mark{}
	}
	if got := held("c", 3, 80).unsettled(rec)[0].Epoch; got != 1 {
		t.Errorf("where it is not known on what the leaders were elected: from epoch %d", got)
	}
}
