package role

import (
	"context"
	"fmt"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Fence promises req.Epoch durably and says what this member holds.
func (r *Runner) Fence(ctx context.Context, req wire.FenceRequest) (reply wire.FenceReply, err error) {
	callErr := r.do(ctx, func() {
		var a replication.FenceAnswer
		// What is being written must be over before it is said how much there is.
		if err = r.sync.settle(); err == nil {
			a, err = r.core.Fence(req.Epoch, r.opt.Now())
		}
		if r.final(err) != nil {
			return
		}
		p := r.core.Promises()
		reply = wire.FenceReply{
			Member: r.opt.Member, Incarnation: r.meta.State().Incarnation, Promised: a.Promised, Last: a.Last, Commit: a.Commit,
			Empty: r.core.Empty(), Seeding: p.NeedSeed,
			GrantMillis: ceilMillis(a.GrantLeft), WasLeader: r.core.Led(),
		}
	})
	if callErr != nil {
		return wire.FenceReply{}, callErr
	}
	return reply, err
}

func ceilMillis(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

// Promote makes this member lead.
func (r *Runner) Promote(ctx context.Context, req wire.PromoteRequest) (err error) {
	callErr := r.do(ctx, func() {
		if err = r.sync.settle(); err != nil {
			_ = r.final(err)
			return
		}
		now := r.opt.Now()
		err = r.final(r.core.Promote(replication.Promotion{
			Epoch: req.Epoch, Version: req.ConfigVersion, Rules: req.Rules, Start: req.Start,
			GrantWait: time.Duration(req.GrantWaitMillis) * time.Millisecond,
		}, r.stampMilli(now), now))
		if err == nil {
			r.lead(req)
		}
	})
	if callErr != nil {
		return callErr
	}
	return err
}

// Follow points this member at a leader.
func (r *Runner) Follow(ctx context.Context, req wire.FollowRequest) (err error) {
	callErr := r.do(ctx, func() { err = r.final(r.core.Follow(req.Epoch, req.Leader, req.Address)) })
	if callErr != nil {
		return callErr
	}
	return err
}

// Configure replaces the leader's commit rules and, when given, the Lease's duration.
func (r *Runner) Configure(ctx context.Context, req wire.ConfigureRequest) (err error) {
	callErr := r.do(ctx, func() {
		err = r.final(r.core.Configure(req.Epoch, req.Version, req.Rules, r.opt.Now()))
		if err == nil && req.LeaseDurationMillis > 0 {
			r.holdLease(time.Duration(req.LeaseDurationMillis) * time.Millisecond)
		}
	})
	if callErr != nil {
		return callErr
	}
	return err
}

// maxHold bounds a handover's pause of writes.
const maxHold = 10 * time.Second

// Handover holds new writes and returns once req.To is durable at the log's end. The hold ends by itself.
func (r *Runner) Handover(ctx context.Context, req wire.HandoverRequest) (wire.HandoverReply, error) {
	d := min(time.Duration(req.HoldMillis)*time.Millisecond, maxHold)
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for held := false; ; held = true {
		var reply wire.HandoverReply
		var done bool
		var err error
		acked := r.acks.next()
		if callErr := r.do(ctx, func() {
			if !held {
				err = r.beginHold(req, d)
			}
			if err == nil {
				reply.End, done, err = r.handedOver(req)
			}
		}); callErr != nil {
			return reply, &replication.Refusal{Reason: "NotInTime",
				Message: fmt.Sprintf("%s did not reach the log's end within %v", req.To, d)}
		}
		if err != nil || done {
			return reply, err
		}
		select {
		case <-acked:
		case <-ctx.Done():
		}
	}
}

// hold is a handover's pause of writes.
type hold struct {
	timer *time.Timer
	// end is the log's end: nothing comes after it while the hold lasts.
	end replication.Position
}

func (r *Runner) beginHold(req wire.HandoverRequest, d time.Duration) error {
	if err := r.leads(req.Epoch); err != nil {
		return err
	}
	r.endHold()
	h := &hold{end: r.gen.Load().Seq.Hold()}
	h.timer = time.AfterFunc(d, func() {
		r.post(func() {
			if r.hold == h {
				r.endHold()
			}
		})
	})
	r.hold = h
	return nil
}

// endHold lets writes go on.
func (r *Runner) endHold() {
	if r.hold == nil {
		return
	}
	r.hold.timer.Stop()
	r.hold = nil
	r.gen.Load().Seq.Release()
}

func (r *Runner) leads(e replication.Epoch) error {
	if r.leader != nil && r.leader.open && r.leader.epoch == e {
		return nil
	}
	return &replication.Refusal{Reason: "NotLeader",
		Message: fmt.Sprintf("%s in epoch %d accepts no writes of epoch %d", r.core.Role(), r.core.Promises().Epoch, e)}
}

// handedOver reports whether everything before the hold is committed and on the target.
func (r *Runner) handedOver(req wire.HandoverRequest) (end replication.Mark, done bool, err error) {
	if err := r.leads(req.Epoch); err != nil {
		return end, false, err
	}
	if r.hold == nil {
		return end, false, &replication.Refusal{Reason: "NotInTime", Message: "the hold on writes ended"}
	}
	f, known := r.core.Followers(r.opt.Now())[req.To]
	if !known {
		return end, false, &replication.Refusal{Reason: "NotFollowing", Message: fmt.Sprintf("%s does not follow this leader", req.To)}
	}
	end = r.gen.Load().Log.Durable()
	done = end.Position == r.hold.end && r.core.Commit() == end.Position && f.Durable == end.Position
	return end, done, nil
}
