package replication

import (
	"errors"
	"fmt"
	"time"
)

// following is the follower's state of one stream.
type following struct {
	// grantedUntil is when this member's read grant ends. A leader promoted before then waits it out before it commits
	// anything.
	grantedUntil time.Time
	heard        int64  // the largest Append.Sent of this stream
	matched      bool   // the leader accepted our log end: Appends extend it from now on
	covered      bool   // see Covered
	pruned       uint64 // see Pruned
	forgone      bool   // a cut that this leader asked for cannot be carried out: see ForgoCut
	version      uint64 // the newest version of the leader's commit rules, in this epoch
	probe        Mark   // the upper bound to ask about next while looking for the point of divergence; else zero
	cut          *Cut   // the truncation that the leader's answer requires and that is not done yet; nil when there is none
}

// Cut is a truncation that the log needs: everything after After must go, for Reason.
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
	StepFetch                  // fetch a snapshot from HelloReply.Source, keeping this connection open meanwhile
	StepLeave                  // close the connection; try again later or wait for the operator
	StepRenew                  // the log has lost what HelloReply.Acked names: take a new incarnation (see Renewed), then do as for StepLeave
)

// Hello returns what to say to the leader now. The log must be synced and no cut may be due.
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

// OnHelloReply acts on the leader's answer. A cut is decided here, by epoch and never by commit position alone (KIP-101).
// It must be carried out before the next Hello.
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
// follower's log, the follower's log and state are a prefix of that leader's log, and remain one for the rest of the epoch.
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

// cutBack implements the rejoin step of protocol.md: take the smaller of the two ends of the named epoch, ask again while
// that epoch is unknown here, and cut once the place is certain.
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
		// Either the state machine already holds what must go (an asynchronous leader that came back), or the log does not
		// reach back to the point of divergence. Only a snapshot helps. NeedSeed is durable before the log is touched,
		// because a crash in between must not look like a log that lost entries. What must be cut is saved with it, so that it
		// is cut whoever leads by then.
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

// Pruned returns how many entries this member had applied and pruned that are not in the leader's log, as found when the leader
// told it to cut. No log holds them, and a seed replaces the state that does.
func (r *Replica) Pruned() uint64 { return r.follow.pruned }

// CutDue returns the cut that must be carried out now, or nil. It is one that the leader has asked for, or one that an
// earlier process could not carry out, because it ended first or had no room.
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

// FinishCut carries out the cut that is due. It must run before Hello: what a seed replaces must be in quarantine by then.
// It returns how many entries it has cut, even if it fails after that.
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

// ForgoCut abandons a cut that can never be carried out, because the records to be quarantined cannot be read.
func (r *Replica) ForgoCut() error {
	r.follow.cut, r.follow.forgone = nil, true
	return r.save(r.promises.Replaced(true))
}

// OnAppend takes records and the commit position from the leader. A Refusal ends the stream; any other error is final.
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
		return nil // it is acknowledged all the same, which tells the leader that it is heard again
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

// Ack returns what to tell the leader now. applied comes from the host's state machine.
func (r *Replica) Ack(applied Position) Ack {
	return Ack{Epoch: r.promises.Epoch, Durable: r.log.Durable().Position, Applied: applied, Sent: r.follow.heard}
}

// Covered reports whether the current leader has said that its own log holds, or held, everything in this one. That stays
// true for as long as this member follows that leader.
func (r *Replica) Covered() bool { return r.follow.covered }

// Matched reports whether the leader accepted this follower's log end on the current stream.
func (r *Replica) Matched() bool { return r.follow.matched }
