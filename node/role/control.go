package role

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Fence durably promises req.Epoch and returns what this member holds.
func (m *Member) Fence(ctx context.Context, req wire.FenceRequest) (reply wire.FenceReply, err error) {
	callErr := m.works.Do(ctx, func() {
		var a replication.FenceAnswer
		// An fsync in progress must end before the member reports how much it holds.
		if err = m.settleSync(); err == nil {
			a, err = m.core.Fence(req.Epoch, m.opt.Now())
		}
		if m.final(err) != nil {
			return
		}
		p := m.core.Promises()
		reply = wire.FenceReply{
			Member: m.opt.Member, Incarnation: m.meta.State().Incarnation, Promised: a.Promised, Last: a.Last, Commit: a.Commit, Told: m.core.Told(), ToldMillis: m.core.ToldMillis(m.opt.Now()),
			Empty: m.core.Empty(), Seeding: p.NeedSeed,
			GrantMillis: ceilMillis(a.GrantLeft),
		}
	})
	if callErr != nil {
		return wire.FenceReply{}, callErr
	}
	return reply, err
}

func ceilMillis(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

// Promote makes this member the leader of req.Epoch.
func (m *Member) Promote(ctx context.Context, req wire.PromoteRequest) (err error) {
	callErr := m.works.Do(ctx, func() {
		if err = m.settleSync(); err != nil {
			_ = m.final(err)
			return
		}
		now := m.opt.Now()
		err = m.final(m.core.Promote(replication.Promotion{
			Epoch: req.Epoch, Version: req.ConfigVersion, Rules: req.Rules, Start: req.Start,
			GrantWait: time.Duration(req.GrantWaitMillis) * time.Millisecond,
		}, m.stampMilli(), now))
		if err == nil {
			m.lead(req)
		}
	})
	if callErr != nil {
		return callErr
	}
	return err
}

// Follow makes this member follow the leader of req.Epoch.
func (m *Member) Follow(ctx context.Context, req wire.FollowRequest) (err error) {
	callErr := m.works.Do(ctx, func() { err = m.final(m.core.Follow(req.Epoch, req.Leader, req.Address)) })
	if callErr != nil {
		return callErr
	}
	return err
}

// Configure replaces the leader's commit rules and, if req has one, the Lease's duration.
func (m *Member) Configure(ctx context.Context, req wire.ConfigureRequest) (err error) {
	callErr := m.works.Do(ctx, func() {
		err = m.final(m.core.Configure(req.Epoch, req.Version, req.Rules, m.opt.Now()))
		if err == nil && req.LeaseDurationMillis > 0 {
			m.holdLease(time.Duration(req.LeaseDurationMillis) * time.Millisecond)
		}
	})
	if callErr != nil {
		return callErr
	}
	return err
}

// maxHold bounds how long a handover may pause writes.
const maxHold = 10 * time.Second

// Handover holds back new writes and returns once req.To has the whole log durable. The hold expires by itself.
func (m *Member) Handover(ctx context.Context, req wire.HandoverRequest) (wire.HandoverReply, error) {
	ctx, cancel := context.WithTimeout(ctx, holdOf(req))
	defer cancel()
	lacks := m.opt.Member + " did not pause its writes"
	for begin := true; ; begin = false {
		acked := m.acks.next()
		reply, missing, err := m.TryHandover(ctx, req, begin)
		switch {
		case replication.IsRefusal(err) && !errors.Is(err, errHoldOver):
			return reply, err
		case err != nil:
			return reply, &replication.Refusal{Reason: "NotInTime", Message: fmt.Sprintf("%s within %v", lacks, holdOf(req))}
		case missing == "":
			return reply, nil
		}
		lacks = missing
		select {
		case <-acked:
		case <-ctx.Done():
		}
	}
}

func holdOf(req wire.HandoverRequest) time.Duration {
	return min(time.Duration(req.HoldMillis)*time.Millisecond, maxHold)
}

// TryHandover is one attempt of Handover; begin starts the hold. missing says what is not done yet; "" means that
// everything is.
func (m *Member) TryHandover(ctx context.Context, req wire.HandoverRequest, begin bool) (reply wire.HandoverReply, missing string, err error) {
	if callErr := m.works.Do(ctx, func() {
		if begin {
			err = m.beginHold(req, holdOf(req))
		}
		if err == nil {
			reply.End, missing, err = m.handedOver(req)
		}
	}); callErr != nil {
		return reply, "", callErr
	}
	return reply, missing, err
}

// hold is a pause of writes for a handover.
type hold struct {
	stop func() // stops its timer
	// end is the position at which the log ends. Nothing is appended after it while the hold lasts.
	end replication.Position
	// short means that the log had no room for the rest of what was queued before the hold, so end is where the log
	// actually ends. The rest is in no log, so the successor need not have it. That stays so while the hold lasts, even
	// if there is room again.
	short bool
	// applied is the position applied at the last look.
	applied replication.Position
}

// progressed reports whether more has been applied since the last look. That may be all that was missing; see handedOver.
func (h *hold) progressed(c *Contents) bool {
	if h == nil {
		return false
	}
	before := h.applied
	h.applied = c.State.Applied().Position
	return h.applied != before
}

var errHoldOver = &replication.Refusal{Reason: "NotInTime", Message: "the pause of writes ended"}

func (m *Member) beginHold(req wire.HandoverRequest, d time.Duration) error {
	if err := m.leads(req.Epoch); err != nil {
		return err
	}
	m.endHold()
	h := &hold{end: m.Contents().Seq.Hold()}
	h.stop = m.works.After(d, func() {
		if m.hold == h {
			m.endHold()
		}
	})
	m.hold = h
	m.leader.shipAll()
	return nil
}

// endHold lets writes continue.
func (m *Member) endHold() {
	if m.hold == nil {
		return
	}
	m.hold.stop()
	m.hold = nil
	m.Contents().Seq.Release()
}

func (m *Member) leads(e replication.Epoch) error {
	if m.leader != nil && m.leader.open && m.leader.epoch == e {
		return nil
	}
	return &replication.Refusal{Reason: "NotLeader",
		Message: fmt.Sprintf("%s in epoch %d accepts no writes of epoch %d", m.core.Role(), m.core.Promises().Epoch, e)}
}

// shorten makes the hold end where the log does, for a log that takes no more entries. Otherwise a leader without room
// could never hand over.
func (h *hold) shorten(c *Contents) {
	if last := c.Log.Last().Position; last < h.end {
		h.end, h.short = last, true
	}
}

// handedOver says what is still missing: everything before the hold must be committed, applied, and durable on the
// targets.
func (m *Member) handedOver(req wire.HandoverRequest) (end replication.Mark, missing string, err error) {
	if err := m.leads(req.Epoch); err != nil {
		return end, "", err
	}
	if m.hold == nil {
		return end, "", errHoldOver
	}
	c := m.Contents()
	if m.space.noRoom {
		m.hold.shorten(c)
	}
	end = c.Log.Durable()
	if end.Position != m.hold.end {
		missing = m.opt.Member + " did not make its own log durable up to its end"
	}
	followers := m.core.Followers(m.opt.Now())
	for _, name := range append([]string{req.To}, req.Also...) {
		f, known := followers[name]
		if !known {
			return end, "", &replication.Refusal{Reason: "NotFollowing", Message: fmt.Sprintf("%s does not follow this leader", name)}
		}
		if f.Durable != end.Position && missing == "" {
			missing = name + " did not reach the log's end"
		}
	}
	switch {
	case missing != "":
	case m.core.Commit() != end.Position:
		missing = "too few voters reached the log's end"
	case c.State.Applied().Position < end.Position: // else a client waiting for it would not learn that its write was committed
		missing = m.opt.Member + " did not apply its log up to its end"
	}
	return end, missing, nil
}
