package decide

import (
	"fmt"
	"slices"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
)

// State is the state of a store, as one word.
type State uint8

const (
	// StateInvalid is the zero value and is never decided.
	StateInvalid State = iota
	// Deleting: the store is being deleted; its children follow through their owner references.
	Deleting
	// Paused: the operator was told to leave the store alone. (A store that hibernates meanwhile is Hibernated.)
	Paused
	// Held: fenced by annotation.
	Held
	// Hibernating: going to sleep.
	Hibernating
	// Hibernated: asleep, with volumes but no pods. Also a paused store that is meant to sleep and whose epoch has no
	// leader.
	Hibernated
	// Waking: the members of a hibernated store are coming back.
	Waking
	// Creating: a new store; not all members answer yet.
	Creating
	// RecordLost: the record is missing or older than the members' promises, and the store cannot continue yet.
	RecordLost
	// Fencing: members are being fenced for a new epoch.
	Fencing
	// Blocked: the store needs a new leader, and a gate forbids making one.
	Blocked
	// Promoting: a member was elected and is being told.
	Promoting
	// Opening: the leader leads but has not committed its barrier yet.
	Opening
	// Suspecting: the leader does not answer, but it is too early or too uncertain to replace it.
	Suspecting
	// HandingOver: a planned change of leader is in progress.
	HandingOver
	// ChangingVoters: the commit rule is changing.
	ChangingVoters
	// ScalingDown: a member is being removed.
	ScalingDown
	// Reseeding: a member's data is being discarded on request.
	Reseeding
	// Updating: members are being restarted one by one.
	Updating
	// Settling: led and writable, but members are missing or catching up.
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

// States returns every state, for metrics.
func States() []State {
	var all []State
	for s := Deleting; s < stateCount; s++ {
		all = append(all, s)
	}
	return all
}

// Plan is the result of one decision.
type Plan struct {
	State   State
	Reason  string // CamelCase; used in conditions, events and log lines alike
	Message string // one sentence
	// Actions run in order. The first failure ends the pass, except that of a CreateMember or a LabelPod. At most one is
	// risky.
	Actions []Action
	// RequeueAfter is when to look again if nothing happens before.
	RequeueAfter time.Duration
	// Holding names the facts that hold now; the observer measures how long each lasts (Observed.Held).
	Holding []string
	// Standby: the plan is for another operator to carry out; this one acts on, reports and publishes nothing.
	Standby bool
	// StandsIn is the epoch for which an operator on standby acts in place of the elected one; 0 if none.
	StandsIn replication.Epoch
	// Reread: the plan relies on cached data where it must not. Nothing of it is carried out, reported or published; the
	// reads named here are repeated against the API server itself, and a new plan is made.
	Reread Reads
	// Lost is copied from the record.
	Lost *Loss
	// Notes deserve an event when they are first seen.
	Notes []Note
	// Status is the status to publish.
	Status v1alpha1.ReplicatedStoreStatus
}

// Risky reports whether the world must be observed again after the actions.
func (p Plan) Risky() bool {
	return slices.ContainsFunc(p.Actions, Action.Risky)
}

// promotes reports whether the one risky action is a PromoteMember. Other actions may go along with that one, which saves a
// round.
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

// but returns p with the state, reason and message of blocked, keeping p's actions. If blocked is nil it returns p.
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
