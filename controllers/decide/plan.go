package decide

import (
	"fmt"
	"slices"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
)

// State is what a store is in, as one word.
type State uint8

const (
	// StateInvalid is the zero value and is never decided.
	StateInvalid State = iota
	// Deleting: the store is being deleted; its children follow by owner reference.
	Deleting
	// Paused: told to leave the store alone, unless it sleeps.
	Paused
	// Held: fenced by annotation.
	Held
	// Hibernating: going to sleep.
	Hibernating
	// Hibernated: asleep: no pods, only volumes; or left alone in an epoch that nobody leads, as it is to be.
	Hibernated
	// Waking: members of a store that slept come back.
	Waking
	// Creating: a new store whose members do not all answer yet.
	Creating
	// RecordLost: the record is gone or older than the members' promises, and cannot be continued yet.
	RecordLost
	// Fencing: members are being fenced for a new epoch.
	Fencing
	// Blocked: a new leader is needed and a gate forbids making one.
	Blocked
	// Promoting: a member is chosen and being told.
	Promoting
	// Opening: the leader leads and has not committed its barrier.
	Opening
	// Suspecting: the leader does not answer, and it is too early or too uncertain to replace it.
	Suspecting
	// HandingOver: a planned change of leader.
	HandingOver
	// ChangingVoters: the commit rule changes.
	ChangingVoters
	// ScalingDown: a member is being removed.
	ScalingDown
	// Reseeding: a member's data is thrown away on request.
	Reseeding
	// Updating: members are restarted one by one.
	Updating
	// Settling: led and writable, with members still missing or catching up.
	Settling
	// Stable: nothing to do.
	Stable
	stateCount
)

func (s State) String() string {
	switch s {
	case StateInvalid:
		return "Invalid"
	case Deleting:
		return "Deleting"
	case Paused:
		return "Paused"
	case Held:
		return "Held"
	case Hibernating:
		return "Hibernating"
	case Hibernated:
		return "Hibernated"
	case Waking:
		return "Waking"
	case Creating:
		return "Creating"
	case RecordLost:
		return "RecordLost"
	case Fencing:
		return "Fencing"
	case Blocked:
		return "Blocked"
	case Promoting:
		return "Promoting"
	case Opening:
		return "Opening"
	case Suspecting:
		return "Suspecting"
	case HandingOver:
		return "HandingOver"
	case ChangingVoters:
		return "ChangingVoters"
	case ScalingDown:
		return "ScalingDown"
	case Reseeding:
		return "Reseeding"
	case Updating:
		return "Updating"
	case Settling:
		return "Settling"
	case Stable:
		return "Stable"
	case stateCount:
		fallthrough
	default:
		return fmt.Sprintf("State(%d)", uint8(s))
	}
}

// States lists every state, for metrics.
func States() []State {
	var all []State
	for s := Deleting; s < stateCount; s++ {
		all = append(all, s)
	}
	return all
}

// Plan is one decision.
type Plan struct {
	State   State
	Reason  string // CamelCase; used in conditions, events and log lines alike
	Message string // one sentence
	// Actions in order; the first failure ends the pass, unless it is a CreateMember's or a LabelPod's. At most one is risky.
	Actions []Action
	// RequeueAfter: look again then, if nothing happens before.
	RequeueAfter time.Duration
	// Holding names the facts seen now; the observer measures how long each lasts (Observed.Held).
	Holding []string
	// Standby: the plan is another operator's to carry out; this one does nothing, says nothing and publishes nothing.
	Standby bool
	// StandsIn is the epoch for which an operator on standby acts in the elected one's place; 0: none.
	StandsIn replication.Epoch
	// Reread: this plan rests on a cache where it must not. Nothing of it is done, said or published; these are read from the API
	// server itself, and another one is made.
	Reread Reads
	// Lost as in the record.
	Lost *Loss
	// Notes are what deserves an event when it is first seen.
	Notes []Note
	// Status to publish.
	Status v1alpha1.ReplicatedStoreStatus
}

// Risky tells whether the world must be looked at again after the actions.
func (p Plan) Risky() bool {
	return slices.ContainsFunc(p.Actions, Action.Risky)
}

// promotes tells whether the one risky action is the order to lead; what goes with it saves a round.
func (p Plan) promotes() bool {
	return slices.ContainsFunc(p.Actions, func(a Action) bool { _, ok := a.(PromoteMember); return ok })
}

func plan(s State, reason, format string, args ...any) Plan {
	return Plan{State: s, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func (p Plan) do(actions ...Action) Plan {
	p.Actions = append(p.Actions, actions...)
	return p
}

// but says what blocked does in place of p, and does what p does; nil: p.
func (p Plan) but(blocked *Plan) Plan {
	if blocked != nil {
		p.State, p.Reason, p.Message = blocked.State, blocked.Reason, blocked.Message
	}
	return p
}

func (p Plan) again(after time.Duration) Plan {
	p.RequeueAfter = after
	return p
}
