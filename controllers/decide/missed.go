package decide

import (
	"time"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// missedLook is how long a member that does not answer may be assumed to have only missed a look.
const missedLook = 2 * time.Second

// lately returns the member's newest answer, if it answers or has only missed a look; otherwise nil.
func (m Member) lately() *wire.Status {
	if m.Pod == nil || m.Pod.Deleting || !m.Probe.Met || m.Probe.Reach == Refused || m.Probe.For >= missedLook {
		return nil
	}
	return m.Probe.Status
}

// forgive returns m with its previous answer if it has only missed a look and the leader hears it: people are not told of
// that. No action rests on such an answer. The next look comes soon.
func (d *decision) forgive(rec Record, m Member) Member {
	if m.fresh() == nil && m.lately() != nil && d.heard(rec, m.Name) {
		m.Probe.Reach = Fresh
		d.lasting("missed a look: "+m.Name, missedLook)
	}
	return m
}

// forgiving returns all members, each forgiven.
func (d *decision) forgiving(rec Record) map[string]Member {
	out := make(map[string]Member, len(d.Members))
	for name, m := range d.Members {
		out[name] = d.forgive(rec, m)
	}
	return out
}
