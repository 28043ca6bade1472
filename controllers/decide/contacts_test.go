package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A member that takes longer to answer than a silent one is given, but talks on its stream, does not stay timed out.
func TestSlowMemberIsGivenTime(t *testing.T) {
	for name, tc := range map[string]struct {
		reach     decide.Reach
		heard     time.Time
		impatient bool
	}{
		"it refused":                       {decide.Refused, time.Time{}, false},
		"it timed out, and is silent":      {decide.TimedOut, time.Time{}, true},
		"it timed out, and was heard then": {decide.TimedOut, start, true},
		"it timed out, and talks":          {decide.TimedOut, start.Add(time.Millisecond), false},
	} {
		c := decide.Contacts{}.Of("orders-1", &decide.Pod{UID: "u", IP: "192.0.2.1"})
		c.Ask(start, time.Time{})
		c.Failed(tc.reach, "", start.Add(time.Second), time.Time{})
		if got := c.Ask(start.Add(time.Second), tc.heard); got != tc.impatient {
			t.Errorf("%s: impatient %t", name, got)
		}
	}
}

// A member that timed out or refused is not asked again in the same pass for a while.
func TestADeadMemberIsSpared(t *testing.T) {
	for name, tc := range map[string]struct {
		reach  decide.Reach
		ip     string
		began  time.Duration // of the pass, after the question
		after  time.Duration
		spared bool
	}{
		"it timed out":           {decide.TimedOut, "192.0.2.1", 0, time.Second, true},
		"it refused":             {decide.Refused, "192.0.2.1", 0, time.Second, true},
		"nobody knows":           {decide.Unknown, "192.0.2.1", 0, time.Second, false},
		"in an earlier pass":     {decide.TimedOut, "192.0.2.1", time.Millisecond, time.Second, false},
		"a while ago":            {decide.TimedOut, "192.0.2.1", 0, 2 * time.Second, false},
		"it has no address left": {decide.Unknown, "", 0, time.Second, true},
	} {
		cs := decide.Contacts{}
		c := cs.Of("orders-1", &decide.Pod{UID: "u", IP: "192.0.2.1"})
		c.Ask(start, time.Time{})
		c.Failed(tc.reach, "its disk hangs", start.Add(time.Millisecond), time.Time{})
		p, spared := cs.Of("orders-1", &decide.Pod{UID: "u", IP: tc.ip}).Spare(start.Add(tc.began), start.Add(tc.after), time.Time{})
		if spared != tc.spared || spared && (p.Reach != tc.reach || p.Trouble != "its disk hangs") {
			t.Errorf("%s: spared %t, %+v", name, spared, p)
		}
	}
}

// The last status outlives the pod that gave it. How that pod answered does not.
func TestWhatIsRememberedOfAMember(t *testing.T) {
	cs, pod, at := decide.Contacts{}, &decide.Pod{UID: "u", IP: "192.0.2.1"}, func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	ask := func(s int) *decide.Contact {
		c := cs.Of("orders-1", pod)
		c.Ask(at(s), time.Time{})
		return c
	}
	if p := ask(0).Answered(wire.Status{Applied: 7}, at(1)); p.Reach != decide.Fresh || !p.Met || p.Unmet || p.Age != 0 || p.For != 0 || !cs.Answers("orders-1") {
		t.Errorf("it answers: %+v", p)
	}
	p := ask(2).Failed(decide.TimedOut, "", at(3), time.Time{})
	if p.Status.Applied != 7 || p.Age != 3*time.Second || p.For != time.Second || p.Silent != 2*time.Second || !p.Met || cs.Answers("orders-1") {
		t.Errorf("it timed out: %+v", p)
	}
	if p = ask(4).Failed(decide.Refused, "", at(5), at(4)); p.For != 3*time.Second || p.Silent != 3*time.Second {
		t.Errorf("its stream talked meanwhile: %+v", p)
	}
	pod = &decide.Pod{UID: "u", IP: "192.0.2.2"}
	if p = ask(6).Misdirected(at(6), time.Time{}); p.Reach != decide.Unknown || !p.Unmet || !p.Foreign {
		t.Errorf("somebody else answers at its new address: %+v", p)
	}
	pod = &decide.Pod{UID: "v", IP: "192.0.2.2"}
	if p = ask(8).Failed(decide.Unknown, "", at(9), time.Time{}); p.Met || p.Foreign || p.Status.Applied != 7 || p.For != 7*time.Second || p.Silent != p.For {
		t.Errorf("its next pod has not answered: %+v", p)
	}
	pod = nil
	if p, spared := cs.Of("orders-1", nil).Spare(at(9), at(10), at(10)); !spared || p.Unmet || p.For != 8*time.Second {
		t.Errorf("it has no pod: %t, %+v", spared, p)
	}
}
