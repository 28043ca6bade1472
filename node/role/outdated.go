package role

import (
	"errors"
	"fmt"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// outdated is what was found of a volume that did not hold what this member had acknowledged; role goroutine only.
type outdated struct {
	text string
	at   time.Time
}

// outdatedTold is for how long status tells of it. The member is as good as any new one by then; its storage may not be.
const outdatedTold = 5 * time.Minute

// renew has this member go on under another incarnation, because its leader says that this one has acknowledged more than there is. It
// keeps what it has, and is no voter any more: where votes are counted, nobody takes it for one that would know of what it acknowledged.
func (m *Member) renew(reply replication.HelloReply) error {
	held, before := m.Contents().Log.Durable().Position, m.core.Self()
	incarnation, err := m.meta.Renew()
	if m.final(err) != nil {
		m.noRoomFor(err)
		return err
	}
	m.core.Renewed(incarnation)
	p := m.core.Promises()
	m.outdated = outdated{at: m.opt.Now(), text: fmt.Sprintf("its log ended at position %d, and it had acknowledged position %d to %s in epoch %d: its "+
		"volume was put back to an older state, or its storage lost what was synced; it joins again as a new member, and gets what is missing "+
		"from the leader; look at the storage, which may have done so to others", held, reply.Acked, p.Leader, p.Epoch)}
	m.opt.Log.Error(errors.New(m.outdated.text), "took a new incarnation", "member", m.opt.Member, "before", before.Incarnation, "incarnation", incarnation)
	return nil
}

// VolumesOlder counts how often this member's volume was found to hold less than the member had acknowledged, over restarts. Called from
// anywhere.
func (m *Member) VolumesOlder() uint64 { return m.meta.State().Renewals }

// outdatedProblem is what status says of it.
func (m *Member) outdatedProblem() problem {
	if m.outdated.text == "" || m.opt.Now().Sub(m.outdated.at) >= outdatedTold {
		return problem{}
	}
	return problem{wire.ProblemVolumeOlder, m.outdated.text}
}
