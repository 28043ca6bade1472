package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// TestSight checks that only a leader that is silent for long and keeps renewing its Lease shows that this operator is
// blind.
func TestSight(t *testing.T) {
	const duration = 6 * time.Second
	for name, c := range map[string]struct {
		change func(o *decide.Observed, leader *decide.Member)
		want   decide.Sight
	}{
		"silent, and renews its Lease":  {func(*decide.Observed, *decide.Member) {}, decide.SightBlind},
		"refused, and renews its Lease": {func(_ *decide.Observed, l *decide.Member) { l.Probe.Reach = decide.Refused }, decide.SightBlind},
		"answers": {func(_ *decide.Observed, l *decide.Member) {
			l.Probe = decide.Probe{Reach: decide.Fresh, Status: &wire.Status{}}
		}, decide.SightClear},
		"silent for less than that":     {func(_ *decide.Observed, l *decide.Member) { l.Probe.For = 9 * time.Second }, decide.SightNone},
		"no pod":                        {func(_ *decide.Observed, l *decide.Member) { l.Pod = nil }, decide.SightNone},
		"a pod without an address":      {func(_ *decide.Observed, l *decide.Member) { l.Pod.IP = "" }, decide.SightNone},
		"renews no more":                {func(o *decide.Observed, _ *decide.Member) { o.Lease.UnchangedFor = duration / 2 }, decide.SightNone},
		"has not renewed yet":           {func(o *decide.Observed, _ *decide.Member) { o.Lease.Holder = "" }, decide.SightNone},
		"another one renews":            {func(o *decide.Observed, _ *decide.Member) { o.Lease.Holder = "orders-2" }, decide.SightNone},
		"a Lease of no duration":        {func(o *decide.Observed, _ *decide.Member) { o.Lease.Duration = 0 }, decide.SightNone},
		"being elected":                 {func(o *decide.Observed, _ *decide.Member) { o.Lease.Record.Phase = decide.PhasePromoting }, decide.SightNone},
		"fenced, nobody leads":          {func(o *decide.Observed, _ *decide.Member) { o.Lease.Record.Phase = decide.PhaseFencing }, decide.SightNone},
		"no record":                     {func(o *decide.Observed, _ *decide.Member) { o.Lease.Record = nil }, decide.SightNone},
		"a leader that nobody knows of": {func(o *decide.Observed, _ *decide.Member) { o.Lease.Record.Leader.Member = "orders-9" }, decide.SightNone},
	} {
		t.Run(name, func(t *testing.T) {
			leader := decide.Member{
				Name: "orders-1", Pod: &decide.Pod{IP: "192.0.2.1"},
				Probe: decide.Probe{Reach: decide.TimedOut, Status: &wire.Status{}, For: 10 * time.Second},
			}
			rec := &decide.Record{Epoch: 3, Phase: decide.PhaseStable, Leader: replication.Voter{Member: "orders-1"}}
			o := decide.Observed{Lease: decide.Lease{Exists: true, Record: rec, Holder: "orders-1", Duration: duration, UnchangedFor: 2 * time.Second}}
			c.change(&o, &leader)
			o.Members = map[string]decide.Member{leader.Name: leader}
			if got := o.Sight(); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// TestBlindedByMostOfTheLeaders: half of the leaders may be cut off together with whatever else is on their machines.
func TestBlindedByMostOfTheLeaders(t *testing.T) {
	const none, clear, blind = decide.SightNone, decide.SightClear, decide.SightBlind
	for _, c := range []struct {
		of              []decide.Sight
		blinded, seeing bool
	}{
		{nil, false, false},
		{[]decide.Sight{none, none}, false, false},
		{[]decide.Sight{clear}, false, true},
		{[]decide.Sight{blind}, true, false},
		{[]decide.Sight{blind, none, none}, true, false},
		{[]decide.Sight{blind, clear}, false, true},
		{[]decide.Sight{blind, clear, blind}, true, false},
		{[]decide.Sight{blind, clear, blind, clear}, false, true},
	} {
		var s decide.Sights
		for _, of := range c.of {
			s.Count(of)
		}
		if s.Blinded() != c.blinded || s.Seeing() != c.seeing {
			t.Errorf("%v: blinded %v, seeing %v", c.of, s.Blinded(), s.Seeing())
		}
	}
}
