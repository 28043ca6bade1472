package role

import (
	"errors"
	"fmt"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// outdated describes a volume that was found to lack what this member had acknowledged; role goroutine only.
type outdated struct {
	text string
	at   time.Time
}

// outdatedTold is how long status reports it. By then the member is as good as any new one; its storage may not be.
const outdatedTold = 5 * time.Minute

// renew gives this member a new incarnation, because its leader says that the current one has acknowledged more than the
// log holds. The member keeps its data but is no longer a voter, so no quorum counts on it to know what it had
// acknowledged.
func (m *Member) renew(reply replication.HelloReply) error {
	held, before := m.Contents().Log.Durable().Position, m.core.Self()
	incarnation, err := m.meta.Renew()
	if m.final(err) != nil {
		m.noRoomFor(err)
		return err
	}
	m.core.Renewed(incarnation)
	p := m.core.Promises()
	m.outdated = outdated{at: m.opt.Now(), text: fmt.Sprintf("its log ended at position %d, but it had acknowledged position %d to %s in epoch %d: its "+
		"volume was restored to an older state, or its storage lost synced data; it rejoins as a new member and gets what is missing "+
		"from the leader; check the storage, which may have done this to others", held, reply.Acked, p.Leader, p.Epoch)}
	m.opt.Log.Error(errors.New(m.outdated.text), "took a new incarnation", "member", m.opt.Member, "before", before.Incarnation, "incarnation", incarnation)
	return nil
}

// VolumesOlder returns how often this member's volume was found to hold less than the member had acknowledged, across
// restarts. It may be called by any goroutine.
func (m *Member) VolumesOlder() uint64 { return m.meta.State().Renewals }

// outdatedProblem returns what status reports about it.
func (m *Member) outdatedProblem() problem {
	if m.outdated.text == "" || m.opt.Now().Sub(m.outdated.at) >= outdatedTold {
		return problem{}
	}
	return problem{wire.ProblemVolumeOlder, m.outdated.text}
}
