package replication

import (
	"errors"
	"fmt"
	"time"
)

// following is a follower's side of one stream.
type following struct {
	// grantedUntil: no other leader is promoted with this member's help before then without waiting it out.
	grantedUntil time.Time
	heard        int64  // the largest Append.Sent of this stream
	matched      bool   // the leader accepted our log end: what arrives now extends it
	covered      bool   // the leader has said that its log holds, or held, all that ours does, or did
	pruned       uint64 // see Pruned
	forgone      bool   // a cut that this leader asked for cannot be done: see ForgoCut
	version      uint64 // the newest of the leader's commit rules, in this epoch
	probe        Mark   // the upper bound to ask about next, while looking for where the logs part; else zero
	cut          *Cut   // what the leader's answer asks for, and is not done; nil: nothing
}

// Cut is what has to leave the log: everything after After, for Reason.
type Cut struct {
	After  Position
	Reason string
}

// Step tells the follower's host what to do after a HelloReply.
type Step uint8

const (
	StepStream Step = iota + 1 // read Appends
	StepAgain                  // say Hello again on the same connection
	StepSeed                   // receive a snapshot on this connection
	StepFetch                  // fetch a snapshot from HelloReply.Source, and keep this connection meanwhile
	StepLeave                  // close the connection; try again later or wait for the operator
	StepRenew                  // what HelloReply.Acked says is gone: take a new incarnation, see Renewed; then as StepLeave
)

// Hello is what to say to the leader now. The log must be synced, and no cut be due.
func (r *Replica) Hello() Hello {
	r.follow.matched = false
	h := Hello{
		Store: r.opt.Store, StoreUID: r.opt.StoreUID, Member: r.opt.Self.Member, Incarnation: r.opt.Self.Incarnation,
		Epoch: r.promises.Epoch, Last: r.log.Durable(), Seed: r.promises.NeedSeed,
		GrantMillis: grantTime.Milliseconds(),
	}
	h.Compare = h.Seed && r.log.First() <= r.log.Last().Position && !r.follow.forgone
	if r.follow.probe != (Mark{}) {
		h.Last, h.Probe = r.follow.probe, true
	}
	return h
}

// OnHelloReply acts on the leader's answer. A cut is decided here, by epoch and never by commit position alone (KIP-101); it is due
// before the next Hello.
func (r *Replica) OnHelloReply(h HelloReply) (Step, error) {
	if r.role != RoleFollower {
		return StepLeave, nil
	}
	switch h.Verdict {
	case VerdictStream:
		r.follow.matched, r.follow.covered = true, true
		return StepStream, nil
	case VerdictSeed:
		// With NeedSeed, the leader may not have compared the logs; with a Message, they differ.
		r.follow.covered = r.follow.covered || !r.promises.NeedSeed && h.Message == ""
		if h.Source != nil {
			return StepFetch, nil
		}
		return StepSeed, nil
	case VerdictCut:
		return r.cutBack(h)
	case VerdictRefuse:
		if h.Acked > r.log.Durable().Position && !r.promises.NeedSeed {
			return StepRenew, nil
		}
		return StepLeave, nil
	default:
		return StepLeave, nil
	}
}

// onFetch answers a member that its leader sent here for a snapshot. Once the leader of an epoch has accepted this
// follower's log, log and state are a prefix of that leader's log, and stay one for the rest of the epoch.
func (r *Replica) onFetch(h Hello) HelloReply {
	switch {
	case r.role != RoleFollower || h.Epoch != r.promises.Epoch || !r.follow.matched:
		return HelloReply{Verdict: VerdictRefuse, Message: fmt.Sprintf("%s in epoch %d has no stream in epoch %d", r.role, r.promises.Epoch, h.Epoch)}
	case r.promises.NeedSeed || r.Empty():
		return HelloReply{Verdict: VerdictRefuse, Message: "this member has no state to send"}
	default:
		return HelloReply{Verdict: VerdictSeed}
	}
}

// cutBack follows protocol.md, rejoin: take the smaller of the two ends of the named epoch, ask again while that epoch is
// unknown here, and cut once the place is sure.
func (r *Replica) cutBack(h HelloReply) (Step, error) {
	last := r.log.Last()
	common, sure := CutTo(r.log.Epochs(), last.Position, h.Epoch, h.End)
	if !sure {
		r.follow.probe = common
		return StepAgain, nil
	}
	r.follow.probe = Mark{}
	to := max(common.Position, r.log.First()-1) // what was pruned cannot be cut
	r.follow.pruned = uint64(to - common.Position)
	if r.promises.NeedSeed || common.Position < r.commit || to != common.Position {
		// The state machine already holds what must go (an asynchronous leader that came back), or the log does not reach
		// back to where the two part. Only a snapshot helps. The flag is durable before the log is touched: a crash in
		// between must not look like a log that lost entries. And what is to be cut is, whoever leads by then.
		p := r.promises
		if p.NeedSeed = true; to < last.Position {
			p.Uncut, p.CutAfter = true, to
		}
		if err := r.save(p); err != nil {
			return StepLeave, err
		}
	}
	if to < last.Position {
		reason := fmt.Sprintf("epoch %d of the leader of epoch %d ends at %d", h.Epoch, r.promises.Epoch, h.End)
		if r.follow.pruned > 0 {
			reason += fmt.Sprintf("; the %d entries before these are in no log, because this member had pruned them", r.follow.pruned)
		}
		r.follow.cut = &Cut{to, reason}
	}
	return StepAgain, nil
}

// Pruned is how many entries, beyond what this leader's log holds, this member had applied and pruned when it was told to cut: no log holds
// them, and a seed replaces the state that does.
func (r *Replica) Pruned() uint64 { return r.follow.pruned }

// CutDue is what the leader has asked to be cut and is not; also what an earlier process was to cut, that ended before, or had no room
// for it. nil: nothing.
func (r *Replica) CutDue() *Cut {
	last := r.log.Last()
	switch {
	case r.follow.cut != nil && r.follow.cut.After < last.Position:
		return r.follow.cut
	case r.promises.Uncut && r.promises.CutAfter < last.Position:
		return &Cut{max(r.promises.CutAfter, r.log.First()-1), fmt.Sprintf("it was not in the log of a later leader than that of epoch %d", last.Epoch)}
	default:
		return nil
	}
}

// FinishCut does what is due. It comes before Hello: what a seed replaces must be in quarantine by then. It returns how many entries it
// has cut, also where it failed after that.
func (r *Replica) FinishCut() (cut uint64, err error) {
	c := r.CutDue()
	if c == nil {
		return 0, nil
	}
	cut, err = r.log.Cut(c.After, c.Reason)
	switch {
	case errors.Is(err, ErrNoSpace):
		return 0, noRoom("the log cannot be cut after %d: %v", c.After, err)
	case err != nil:
		return 0, fmt.Errorf("cut the log after %d: %w", c.After, err)
	case r.promises.Uncut:
		err = r.save(r.promises.Replaced(true))
	}
	r.follow.cut = nil
	return cut, err
}

// ForgoCut is for a cut that can never be done: what is to be kept cannot be read.
func (r *Replica) ForgoCut() error {
	r.follow.cut, r.follow.forgone = nil, true
	return r.save(r.promises.Replaced(true))
}

// OnAppend takes records and the commit position from the leader. An error that is a Refusal ends the stream; any other
// is final.
func (r *Replica) OnAppend(a Append, now time.Time) error {
	if r.role != RoleFollower || a.Epoch != r.promises.Epoch || a.Epoch < r.promises.Promised || !r.follow.matched {
		return refuse("NotFollowing", "append of epoch %d while %s in epoch %d", a.Epoch, r.role, r.promises.Epoch)
	}
	for _, rec := range a.Records {
		if rec.Epoch > a.Epoch {
			return refuse("BadRecord", "record of epoch %d in a stream of epoch %d", rec.Epoch, a.Epoch)
		}
		if err := rec.Follows(r.log.Last()); err != nil {
			return refuse("BadRecord", "record at %d: %v", rec.First, err)
		}
		if err := r.log.Append(rec); errors.Is(err, ErrNoSpace) {
			return noRoom("append at position %d: %v", rec.First, err)
		} else if err != nil {
			return fmt.Errorf("append at position %d: %w", rec.First, err)
		}
	}
	r.follow.version = max(r.follow.version, a.Version)
	if a.Deaf {
		return nil // an acknowledgement answers it all the same, and so tells the leader when it hears again
	}
	if told := (Mark{Epoch: a.Epoch, Position: a.Commit}); told.Compare(r.told) > 0 {
		r.told = told
	}
	r.toldAt = now
	r.follow.heard = max(r.follow.heard, a.Sent)
	if until := now.Add(grantTime); until.After(r.follow.grantedUntil) {
		r.follow.grantedUntil = until
	}
	r.commit = max(r.commit, min(a.Commit, r.log.Last().Position))
	return nil
}

// Ack is what to tell the leader now; applied comes from the host's state machine.
func (r *Replica) Ack(applied Position) Ack {
	return Ack{Epoch: r.promises.Epoch, Durable: r.log.Durable().Position, Applied: applied, Sent: r.follow.heard}
}

// Covered reports whether the leader that is followed has said that this log has nothing that its own did not have. It stays so for as long as
// that leader is followed.
func (r *Replica) Covered() bool { return r.follow.covered }

// Matched reports whether the leader accepted this follower's log end on the current stream.
func (r *Replica) Matched() bool { return r.follow.matched }
