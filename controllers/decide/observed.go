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

// Observed is everything a decision is based on.
//
// Guarantees of the observer:
//  1. Lease was read uncached, after the statuses, so no member can have promised more than a current record says. With
//     Cached.Record, Lease is cached and says the same as when it was last read uncached. A plan that does anything then
//     asks for an uncached read (Plan.Reread).
//  2. A fresh status was requested in this pass, and its Store and Member are the ones expected at that address.
//  3. Every duration was measured on the observer's own monotonic clock.
//  4. Store was read uncached after this look began. With Cached.Store it may be older, and a plan that does anything asks
//     for an uncached read.
type Observed struct {
	Store    *v1alpha1.ReplicatedStore
	Settings Settings
	Lease    Lease
	// Members holds, by name, every member that has a pod or a claim, or that the record names.
	Members map[string]Member
	// Held is how long each fact named in Plan.Holding has been seen without interruption.
	Held map[string]time.Duration
	// Promoted is when this process told the leader of an epoch to lead; zero if it did not. It is only reported.
	Promoted PromotedAt
	// Handovers are the handovers that failed in the present leadership.
	Handovers HandoverFailures
	// Trial is the trial of a pod made from the present template.
	Trial Trial
	// Unmade says, by name, why members could not be created at the last attempt.
	Unmade map[string]string
	// Unapplied holds, by kind and name, the children that exist once per store and could not be applied at the last
	// attempt.
	Unapplied map[string]Unapplied
	// Unrouted is why the -rw Service could not be pointed elsewhere at the last attempt; "" if it could.
	Unrouted string
	// Refused is why the API server refused an action of the last plan; "" if it refused none.
	Refused string
	// Route is where the -rw Service leads; nil if it leads nowhere yet.
	Route *Route
	// ServiceTaken: the Service with the -rw name belongs to somebody else and must not lead to this store.
	ServiceTaken bool
	// Pass holds the answers to earlier actions of this pass.
	Pass Pass
	// Standby: another operator was elected to act. This one watches, and stands in where that one fails to do what is
	// urgent.
	Standby bool
	// StoodIn is Plan.StandsIn of this process's previous plan.
	StoodIn replication.Epoch
	// Cached says which parts come from a cache, which may lag.
	Cached Reads
	// Before is the outcome of the newest plan that was based on a record read uncached.
	Before Outcome
}

// HandoverFailures describes the planned handovers of one leadership that failed in a row. The zero value means none.
type HandoverFailures struct {
	Epoch  replication.Epoch
	InARow int
	Why    string        // why the newest failed
	Ago    time.Duration // time since the newest failed
}

// Route is the pod that a Service leads to; the zero value means none.
type Route struct {
	UID types.UID
	IP  string
}

// PromotedAt is when the leader of Epoch was told to lead.
type PromotedAt struct {
	Epoch replication.Epoch
	At    time.Time
}

// Settings are the operator's settings. All durations are positive.
type Settings struct {
	// SuspectAfter is how long a leader must be unreachable for the operator and silent for its voters to be suspected.
	SuspectAfter time.Duration
	// VoterGoneAfter is how long a voter must be gone before it is removed from the voters, so that the next failure can
	// be survived.
	VoterGoneAfter time.Duration
	// LowerAfter is how long too few voters must have been live before durability Preferred lowers k, or before a leader
	// that nobody else is known to reach is elected again.
	LowerAfter time.Duration
	// StandInAfter is how long a standby operator waits for the elected one to take a step of a failover.
	StandInAfter time.Duration
	// Hold bounds the pause of a planned handover.
	Hold time.Duration
	// Resync is when to look again if nothing happens.
	Resync time.Duration
}

// DefaultSettings returns settings for a cluster with pod-to-pod latencies of milliseconds.
func DefaultSettings() Settings {
	return Settings{
		SuspectAfter: time.Second, VoterGoneAfter: 15 * time.Second, LowerAfter: 2 * time.Second,
		StandInAfter: 500 * time.Millisecond, Hold: 5 * time.Second, Resync: 10 * time.Second,
	}
}

// LeaseOwner says whose Lease has the store's name.
type LeaseOwner uint8

const (
	// OwnedByStore: it is this very store's.
	OwnedByStore LeaseOwner = iota
	// OwnedByNobody: it was left by a store of this name that was deleted without its children. Its record is believed,
	// because it speaks of the volumes that are there.
	OwnedByNobody
	// OwnedByEarlier: it belongs to an earlier store of this name, and the cluster is about to collect it. Nothing in it
	// is believed.
	OwnedByEarlier
	// OwnedByOther: it belongs to somebody else altogether.
	OwnedByOther
)

// Lease is the store's Lease.
type Lease struct {
	Exists bool
	// Owner says whose the Lease is. If it belongs to an earlier store or to somebody else, only Exists, Owner and
	// ResourceVersion are set.
	Owner           LeaseOwner
	ResourceVersion string
	// Record is nil if there is none or if it cannot be believed; RecordError then says why.
	Record      *Record
	RecordError string
	// Holder is who has renewed the Lease; "" until the leader of the newest leadership has.
	Holder string
	// Duration is the Lease's own; 0 if it names none.
	Duration time.Duration
	// UnchangedFor is how long the renew time has been seen unchanged during the newest leadership. It starts over with a
	// new leadership and with every order to promote.
	UnchangedFor time.Duration
}

// Member holds one member's objects and its own answer.
type Member struct {
	Name    string
	Ordinal int
	Pod     *Pod   // nil: none
	Claim   *Claim // nil: none
	Probe   Probe
	// SpecHash is the hash that the member's pod would have if it were made from the present spec.
	SpecHash string
	// Foreign: its volume holds another store's data. Set by Decide, which then does not use its answers as evidence.
	Foreign bool
}

// Pod is what a decision needs to know of a pod.
type Pod struct {
	UID      types.UID
	IP       string // "" until it has one
	Port     int32  // where the -rw Service leads to on this pod
	Node     string
	Zone     string
	Cordoned bool // its node takes no new pods, as before a drain
	Ready    bool // ready, and not being deleted
	Failed   bool // it ended and will not run again
	Deleting bool
	Departed bool   // its object is gone, and its process still answers: see Departed
	Orphaned bool   // no store owns it, and nobody has deleted it yet
	Role     string // the role label
	SpecHash string
	// Restarted is the restart request that was the newest when the pod was made; "" if there was none.
	Restarted string
	Fenced    bool   // annotated: it must not lead
	FencedAs  string // the value of that annotation
	Reseed    bool   // annotated: throw its data away
	Trouble   string // why it does not run, if Kubernetes says so

	// Other possible reasons why it does not answer. They are only reported; no decision depends on them.
	NodeTrouble string // what is wrong with its node
	Creating    bool   // its container is being created
	Ended       string // how its container last ended
}

// Claim is what a decision needs to know of a volume claim.
type Claim struct {
	UID      types.UID
	Deleting bool
	Lost     bool // its volume is gone
	Blank    bool // it never had a volume, and asks for an empty one
	// Finalizers are those still set.
	Finalizers []string
	// Class is its storage class; nil if it names none.
	Class *string
	// Requested is the size it asks for, and Capacity the size of its volume, which is zero until there is one.
	Requested, Capacity resource.Quantity
	// Growth is the condition that Kubernetes shows while the volume grows: Resizing, FileSystemResizePending, or an
	// error.
	Growth, GrowthMessage string
	// Refused is why the API server did not accept the size of the spec for it; "" if it did.
	Refused string
}

// Reach is how an attempt to ask a member ended.
type Reach uint8

const (
	// Unknown: it was not asked, or the error says nothing about the member.
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
	// Status is the newest known status; nil if there never was one. It is older than this pass unless Reach is Fresh.
	Status *wire.Status
	// Age is how long ago Status was requested; 0 if Fresh.
	Age time.Duration
	// Trouble is why the member cannot tell its status, if it says so itself: its disk holds it up. Reach is TimedOut
	// then.
	Trouble string
	// For is how long the member has not answered; 0 if Fresh.
	For time.Duration
	// Met says whether this very pod has answered before.
	Met bool
	// Unmet says that the member has not answered yet at its pod's present address, and Foreign that somebody else was
	// the last to answer there. The cached address may be outdated: a node that restarts assigns its pods new addresses.
	Unmet, Foreign bool
	// Silent is how long nothing at all has been heard from it, neither an answer nor its status stream. It is at least
	// For; 0 if Fresh.
	Silent time.Duration
}

// Pass is what the earlier actions of this pass brought.
type Pass struct {
	// FencedEpoch is the epoch for which members were asked to promise in this pass; 0 if none.
	FencedEpoch replication.Epoch
	// Fences are the answers by member, each with a durable promise of FencedEpoch.
	Fences map[string]wire.FenceReply
	// Handover is the hold that was completed and is still in force; nil if there is none.
	Handover *HandoverHeld
	// HandoverError is why the handover requested in this pass failed.
	HandoverError string
	// PromoteRefusal is why the elected member refused to lead PromoteEpoch; nil if it did not refuse.
	PromoteRefusal *wire.Error
	PromoteEpoch   replication.Epoch
}

// HandoverHeld says that the leader of Epoch writes nothing until the hold ends, and that To holds everything up to End.
type HandoverHeld struct {
	Epoch replication.Epoch
	To    string
	End   replication.Mark
}

// fresh returns the member's answer of this pass; nil if there is none.
func (m Member) fresh() *wire.Status {
	if m.Probe.Reach != Fresh {
		return nil
	}
	return m.Probe.Status
}

// heard reports whether the member's pod has said what its volume holds. A pod has one volume for life, so one answer is
// enough.
//
// Invariant: no member is fenced before that. A promise makes a volume part of this store, and the contents of another
// store's volume would then count as evidence.
func (m Member) heard() bool { return m.fresh() != nil || m.Probe.Met }

// full reports whether the member says that its volume takes no more data.
func (m Member) full() bool {
	s := m.fresh()
	return s != nil && s.Disk.Level == wire.DiskFull
}

// replayLag is by how many entries a member's state may lag behind its log in normal operation under heavy writes.
const replayLag = 10_000

// replays reports whether the member's state is far behind its log, as it is for a while after a restart. As leader it
// could serve nobody before it has applied the rest.
func (m Member) replays() bool {
	s := m.fresh()
	return s != nil && s.Applied+replayLag < s.Durable.Position
}

// leaves reports whether the member says that it was told to terminate. It also knows this when its machine is shut down,
// and while the operator hears nothing from the API server.
func (m Member) leaves() bool {
	s := m.fresh()
	return s != nil && s.Leaving
}

// hung reports whether the member says that its disk does not finish a write. Such a member may still answer its leader's
// heartbeats, but it acknowledges nothing that must be on disk: neither entries nor a fence.
func (m Member) hung() bool {
	s := m.fresh()
	return s != nil && s.ProblemReason == wire.ProblemDiskStuck
}

// voter returns the member and the incarnation that it says it has; false unless its answer is fresh.
func (m Member) voter() (replication.Voter, bool) {
	s := m.fresh()
	if s == nil {
		return replication.Voter{}, false
	}
	return replication.Voter{Member: m.Name, Incarnation: s.Incarnation}, true
}

// Outdated reports whether the member's pod was made from a spec other than the present one, or before the newest restart
// request.
func (o Observed) Outdated(m Member) bool {
	restart := o.Store.Annotations[v1alpha1.AnnotationRestart]
	return m.Pod != nil && (m.Pod.SpecHash != m.SpecHash || restart != "" && m.Pod.Restarted != restart)
}

// leads reports whether the member itself says that it leads this record's epoch as this record's leader.
func (m Member) leads(r Record) bool {
	s := m.fresh()
	return s != nil && m.Name == r.Leader.Member && s.Incarnation == r.Leader.Incarnation &&
		s.Role == wire.RoleLeader && s.Epoch == r.Epoch
}

// follows reports whether the member itself says that it follows this record's leader.
func (m Member) follows(r Record) bool {
	s := m.fresh()
	return s != nil && s.Role == wire.RoleFollower && s.Epoch == r.Epoch && s.Leader == r.Leader.Member
}

// reachable reports whether the member has an address at which it can be asked.
func (m Member) reachable() bool { return m.Pod != nil && m.Pod.IP != "" }

// byOrdinal returns the members, lowest ordinal first.
func (o Observed) byOrdinal() []Member {
	ms := make([]Member, 0, len(o.Members))
	for _, m := range o.Members {
		ms = append(ms, m)
	}
	slices.SortFunc(ms, func(a, b Member) int { return a.Ordinal - b.Ordinal })
	return ms
}
