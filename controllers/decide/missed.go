package decide

import (
	"time"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// missedLook is for how long a member that does not answer may only have missed a look.
const missedLook = 2 * time.Second

// lately is the member's newest answer, where it answers or has only missed a look; nil where it does not.
func (m Member) lately() *wire.Status {
	if m.Pod == nil || m.Pod.Deleting || !m.Probe.Met || m.Probe.Reach == Refused || m.Probe.For >= missedLook {
		return nil
	}
	return m.Probe.Status
}

// forgive is m with its answer before, where it has only missed a look and the leader hears it: people are not told of that. Nothing is done
// by such an answer. The next look comes soon.
func (d *decision) forgive(rec Record, m Member) Member {
	if m.fresh() == nil && m.lately() != nil && d.heard(rec, m.Name) {
		m.Probe.Reach = Fresh
		d.lasting("missed a look: "+m.Name, missedLook)
	}
	return m
}

// forgiving are all members so.
func (d *decision) forgiving(rec Record) map[string]Member {
	out := make(map[string]Member, len(d.Members))
	for name, m := range d.Members {
		out[name] = d.forgive(rec, m)
	}
	return out
}
