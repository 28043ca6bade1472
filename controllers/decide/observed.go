package decide

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Observed is everything a decision is made from.
//
// Guarantees of the observer:
//  1. Lease was read uncached, and after the statuses: no member can have promised more than a current record says. Or, where
//     Cached.Record, it says what it said when it was read so last, and then a plan that does anything asks for that (Plan.Reread).
//  2. A fresh status was asked for in this pass, and its Store and Member are the ones expected at that address.
//  3. Every duration was measured on the observer's own monotonic clock.
//  4. Store was read uncached after this look began. Or, where Cached.Store, it may be older, and then a plan that does anything asks for
//     that.
type Observed struct {
	Store    *v1alpha1.ReplicatedStore
	Settings Settings
	Lease    Lease
	// Members by name: every one that has a pod or a claim, or that the record names.
	Members map[string]Member
	// Held tells how long each fact named in Plan.Holding has been seen without interruption.
	Held map[string]time.Duration
	// Promoted is when this process told the leader of an epoch to lead, for the report only; zero if it did not.
	Promoted PromotedAt
	// Handovers that failed in the present leadership.
	Handovers HandoverFailures
	// Trial of a pod made from the template as it is now.
	Trial Trial
	// Unmade tells why members could not be made when that was tried last, by name.
	Unmade map[string]string
	// Unapplied are the children that the store has once and that could not be applied when that was tried last, by kind and name.
	Unapplied map[string]Unapplied
	// Unrouted is why the -rw Service could not be led elsewhere when that was tried last; "" when it could.
	Unrouted string
	// Route is where the -rw Service leads; nil when it leads nowhere yet.
	Route *Route
	// ServiceTaken: the Service of the -rw name is somebody else's, and not to lead to this store.
	ServiceTaken bool
	// Pass holds the answers to this pass's earlier actions.
	Pass Pass
	// Standby: another operator was elected to act. This one watches, and stands in where that one does not do what cannot wait.
	Standby bool
	// StoodIn is Plan.StandsIn of this process's plan before.
	StoodIn replication.Epoch
	// Cached tells what of this is from a cache, which may lag.
	Cached Reads
	// Before is what the newest plan came to that was made from a record read uncached.
	Before Outcome
}

// HandoverFailures are the planned handovers of one leadership that failed in a row. The zero value: none.
type HandoverFailures struct {
	Epoch  replication.Epoch
	InARow int
	Why    string        // the newest
	Ago    time.Duration // since the newest
}

// Route is the pod that a Service leads to; the zero value is none.
type Route struct {
	UID types.UID
	IP  string
}

// PromotedAt is when the leader of Epoch was told.
type PromotedAt struct {
	Epoch replication.Epoch
	At    time.Time
}

// Settings of the operator. All durations are positive.
type Settings struct {
	// SuspectAfter: how long a leader must be unreachable for the operator and silent for its voters.
	SuspectAfter time.Duration
	// VoterGoneAfter: how long a voter must be gone before it leaves the voters, so that the next failure can be survived.
	VoterGoneAfter time.Duration
	// LowerAfter: how long too few voters must have been live before durability Preferred lowers k, or before a leader that
	// nobody else is known to reach is elected again.
	LowerAfter time.Duration
	// StandInAfter: how long an operator on standby waits for the elected one to take a step of a failover.
	StandInAfter time.Duration
	// Hold bounds the pause of a planned handover.
	Hold time.Duration
	// Resync is when to look again when nothing happens.
	Resync time.Duration
}

// DefaultSettings suit a cluster with pod-to-pod latency of milliseconds.
func DefaultSettings() Settings {
	return Settings{
		SuspectAfter: time.Second, VoterGoneAfter: 15 * time.Second, LowerAfter: 2 * time.Second,
		StandInAfter: 500 * time.Millisecond, Hold: 5 * time.Second, Resync: 10 * time.Second,
	}
}

// LeaseOwner tells whose the Lease of the store's name is.
type LeaseOwner uint8

const (
	// OwnedByStore: this very store's.
	OwnedByStore LeaseOwner = iota
	// OwnedByNobody: a store's of this name that was deleted without its children. Its record is believed, for it speaks of
	// the volumes that are there.
	OwnedByNobody
	// OwnedByEarlier: an earlier store's of this name; the cluster is about to collect it. Nothing in it is believed.
	OwnedByEarlier
	// OwnedByOther: somebody else's altogether.
	OwnedByOther
)

// Lease is the store's Lease.
type Lease struct {
	Exists bool
	// Owner; where it is an earlier store's or another's, nothing but Exists and ResourceVersion is set.
	Owner           LeaseOwner
	ResourceVersion string
	// Record is nil when there is none, or when it cannot be believed (then RecordError says why).
	Record      *Record
	RecordError string
	// Holder is who has renewed it; "" before the leader of the newest leadership did.
	Holder string
	// Duration is the Lease's own; 0 when it says none.
	Duration time.Duration
	// UnchangedFor is how long the renew time has been seen unchanged during the newest leadership. A new leadership, and
	// every order to promote, start it over.
	UnchangedFor time.Duration
}

// Member is one member's objects and its own answer.
type Member struct {
	Name    string
	Ordinal int
	Pod     *Pod   // nil: none
	Claim   *Claim // nil: none
	Probe   Probe
	// SpecHash is that of the member's pod if it were made from the spec as it is now.
	SpecHash string
	// Foreign: its volume holds what another store put there. Set by Decide, which then takes none of its answers for
	// evidence.
	Foreign bool
}

// Pod is what a decision needs of a pod.
type Pod struct {
	UID      types.UID
	IP       string // "" until it has one
	Port     int32  // to which the -rw Service leads there
	Node     string
	Zone     string
	Cordoned bool // its node takes no new pods, as before it is drained
	Ready    bool // and it is not on its way out
	Failed   bool // it ended and will not run again
	Deleting bool
	Departed bool   // its object is gone, and its process still answers: see Departed
	Orphaned bool   // it belongs to no store, and nobody has deleted it yet
	Role     string // the role label
	SpecHash string
	// Restarted is the request to restart after which the pod was made; "" when there was none.
	Restarted string
	Fenced    bool   // annotated: it must not lead
	Reseed    bool   // annotated: throw its data away
	Trouble   string // why it does not run, when Kubernetes says so

	// What else may be why it does not answer. It is told, and nothing is decided from it.
	NodeTrouble string // what is wrong with its node
	Creating    bool   // its container is being made
	Ended       string // how its container ended last
}

// Claim is what a decision needs of a volume claim.
type Claim struct {
	UID      types.UID
	Deleting bool
	Lost     bool // its volume is gone
	Blank    bool // it never had a volume, and asks for an empty one
	// Finalizers that it still has.
	Finalizers []string
	// Class of its volume; nil where it says none.
	Class *string
	// Requested is the size it asks for, Capacity that of its volume; zero before it has one.
	Requested, Capacity resource.Quantity
	// Growth is the condition that Kubernetes shows while the volume grows: Resizing, FileSystemResizePending, or an error.
	Growth, GrowthMessage string
	// Refused is why the API server did not let it ask for the size of the spec; "" when it did.
	Refused string
}

// Reach is how an attempt to ask a member ended.
type Reach uint8

const (
	// Unknown: not asked, or an error that says nothing about the member.
	Unknown Reach = iota
	// Fresh: it answered in this pass.
	Fresh
	// Refused: its host answered that nothing listens there.
	Refused
	// TimedOut: no answer in time.
	TimedOut
)

func (r Reach) String() string {
	switch r {
	case Unknown:
		return "Unknown"
	case Fresh:
		return "Fresh"
	case Refused:
		return "Refused"
	case TimedOut:
		return "TimedOut"
	default:
		return "Invalid"
	}
}

// Probe is the newest answer of a member.
type Probe struct {
	Reach Reach
	// Status is the newest one known; older than this pass unless Reach is Fresh. nil: never heard.
	Status *wire.Status
	// Age is how long ago Status was asked for; 0 when Fresh.
	Age time.Duration
	// Trouble is why the member does not tell its status, where it says so itself: its disk holds it up. Reach is TimedOut then.
	Trouble string
	// For is how long the member has not answered; 0 when Fresh.
	For time.Duration
	// Met tells whether this very pod has answered before.
	Met bool
	// Unmet tells that the member has not answered yet at the address that its pod has now; Foreign that somebody else answered there
	// last. The cache may be late: a node that restarts gives out its pods' addresses anew.
	Unmet, Foreign bool
	// Silent is how long nothing at all was heard of it, be it an answer or its status stream; at least For; 0 when Fresh.
	Silent time.Duration
}

// Pass is what the earlier actions of this pass brought.
type Pass struct {
	// FencedEpoch is the epoch for which members were asked in this pass; 0 when none.
	FencedEpoch replication.Epoch
	// Fences are the answers, by member, each with a durable promise of FencedEpoch.
	Fences map[string]wire.FenceReply
	// Handover is the completed hold, still in force, nil if none.
	Handover *HandoverHeld
	// HandoverError says why the handover asked for in this pass failed.
	HandoverError string
	// PromoteRefusal says why the elected member refused to lead Epoch PromoteEpoch; nil when it did not.
	PromoteRefusal *wire.Error
	PromoteEpoch   replication.Epoch
}

// HandoverHeld says that the leader of Epoch writes nothing until the hold ends, and that To holds everything.
type HandoverHeld struct {
	Epoch replication.Epoch
	To    string
	End   replication.Mark
}

// fresh is the member's answer of this pass; nil when there is none.
func (m Member) fresh() *wire.Status {
	if m.Probe.Reach != Fresh {
		return nil
	}
	return m.Probe.Status
}

// heard tells whether the member's pod, which has one volume for as long as it lives, has said what that holds.
//
// Invariant: nobody is fenced before. A promise makes a volume part of this store, and what is in another store's would be evidence.
func (m Member) heard() bool { return m.fresh() != nil || m.Probe.Met }

// full tells whether the member says that its volume takes no more data.
func (m Member) full() bool {
	s := m.fresh()
	return s != nil && s.Disk.Level == wire.DiskFull
}

// replayLag is by how many entries a member's state may be behind its log in ordinary operation, under many writes.
const replayLag = 10_000

// replays tells whether the member's state is far behind its log, as it is for a while after a restart. If it led, it would serve nobody
// before it has applied that.
func (m Member) replays() bool {
	s := m.fresh()
	return s != nil && s.Applied+replayLag < s.Durable.Position
}

// leaves tells whether the member says that it was told to end. It knows when its machine is shut down, or while the operator hears
// nothing of the API server.
func (m Member) leaves() bool {
	s := m.fresh()
	return s != nil && s.Leaving
}

// hung tells whether the member says that its disk does not finish a write. It may answer its leader's heartbeats all the same, and nothing
// that is to be on its disk: neither entries nor a fence.
func (m Member) hung() bool {
	s := m.fresh()
	return s != nil && s.ProblemReason == wire.ProblemDiskStuck
}

// voter is who the member says it is; false unless fresh.
func (m Member) voter() (replication.Voter, bool) {
	s := m.fresh()
	if s == nil {
		return replication.Voter{}, false
	}
	return replication.Voter{Member: m.Name, Incarnation: s.Incarnation}, true
}

// Outdated tells whether the member's pod was made from another spec than the present one, or before the newest request to
// restart.
func (o Observed) Outdated(m Member) bool {
	restart := o.Store.Annotations[v1alpha1.AnnotationRestart]
	return m.Pod != nil && (m.Pod.SpecHash != m.SpecHash || restart != "" && m.Pod.Restarted != restart)
}

// leads tells whether the member itself says that it leads this record's epoch as this record's leader.
func (m Member) leads(r Record) bool {
	s := m.fresh()
	return s != nil && m.Name == r.Leader.Member && s.Incarnation == r.Leader.Incarnation &&
		s.Role == wire.RoleLeader && s.Epoch == r.Epoch
}

// follows tells whether the member itself says that it follows this record's leader.
func (m Member) follows(r Record) bool {
	s := m.fresh()
	return s != nil && s.Role == wire.RoleFollower && s.Epoch == r.Epoch && s.Leader == r.Leader.Member
}

// reachable tells whether the member has an address to ask.
func (m Member) reachable() bool { return m.Pod != nil && m.Pod.IP != "" }

// byOrdinal lists the members, lowest ordinal first.
func (o Observed) byOrdinal() []Member {
	ms := make([]Member, 0, len(o.Members))
	for _, m := range o.Members {
		ms = append(ms, m)
	}
	slices.SortFunc(ms, func(a, b Member) int { return a.Ordinal - b.Ordinal })
	return ms
}
