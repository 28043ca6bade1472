package decide

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Action is one step of a plan. Every action is idempotent.
type Action interface {
	// Risky reports whether the action changes who leads, who counts or what exists on disk, or whether later decisions
	// depend on its answer. A plan contains at most one risky action, and the world is observed again after it.
	Risky() bool
	fmt.Stringer
}

// WriteRecord swaps the authority record. It fails unless the Lease still has ResourceVersion; "" creates the Lease.
type WriteRecord struct {
	Record          Record
	ResourceVersion string
	// LeaseSeconds is the Lease duration to write with the record. The record's leader becomes the holder.
	LeaseSeconds int32
	// NewLeader: the record starts a new leadership, whose holder has not renewed the Lease yet.
	NewLeader bool
}

// FenceMembers asks all the members at once to promise Epoch durably.
type FenceMembers struct {
	Epoch   replication.Epoch
	Members []string
}

// PromoteMember tells the elected member to lead.
type PromoteMember struct {
	Member  string
	Request wire.PromoteRequest
}

// FollowLeader tells a member whom to follow, and at which address.
type FollowLeader struct {
	Member  string
	Request wire.FollowRequest
}

// ConfigureLeader gives the leader the record's commit rules.
type ConfigureLeader struct {
	Member  string
	Request wire.ConfigureRequest
}

// HandOver asks the leader to hold writes until another member holds everything it has.
type HandOver struct {
	Member  string
	Request wire.HandoverRequest
}

// CreateMember creates a member's pod, and its claim unless it exists.
type CreateMember struct {
	Member  string
	Ordinal int
}

// TryPod asks the API server, in a dry run, whether it would accept the pod that the member would get now. The answer
// arrives in Observed.Trial.
type TryPod struct {
	Member  string
	Ordinal int
}

// DeletePod deletes the pod with this UID.
type DeletePod struct {
	Name string
	UID  types.UID
	Why  string
}

// DeleteClaim deletes the claim with this UID, and the data with it.
type DeleteClaim struct {
	Name string
	UID  types.UID
	Why  string
}

// LabelPod sets the role label of a pod; "" removes it.
type LabelPod struct {
	Name string
	Role string
}

// RouteClients points the -rw Service to a member; "" points it nowhere.
type RouteClients struct {
	Member string
}

// UnannotatePod removes an annotation that has been handled.
type UnannotatePod struct {
	Name string
	Key  string
}

// FinishRequest publishes the outcome of a failover requested by annotation, then removes the annotation.
type FinishRequest struct {
	Outcome v1alpha1.FailoverRequestStatus
}

func (WriteRecord) Risky() bool     { return true }
func (FenceMembers) Risky() bool    { return true }
func (PromoteMember) Risky() bool   { return true }
func (FollowLeader) Risky() bool    { return false }
func (ConfigureLeader) Risky() bool { return true }
func (HandOver) Risky() bool        { return true }
func (CreateMember) Risky() bool    { return false }
func (TryPod) Risky() bool          { return true }
func (DeletePod) Risky() bool       { return true }
func (DeleteClaim) Risky() bool     { return true }
func (LabelPod) Risky() bool        { return false }
func (RouteClients) Risky() bool    { return false }
func (UnannotatePod) Risky() bool   { return false }
func (FinishRequest) Risky() bool   { return true }

func (a WriteRecord) String() string {
	return fmt.Sprintf("write record %s of epoch %d, configuration %d", a.Record.Phase, a.Record.Epoch, a.Record.ConfigVersion)
}
func (a FenceMembers) String() string {
	return fmt.Sprintf("fence %s for epoch %d", strings.Join(a.Members, ", "), a.Epoch)
}
func (a PromoteMember) String() string {
	return fmt.Sprintf("promote %s to lead epoch %d from %v", a.Member, a.Request.Epoch, a.Request.Start)
}
func (a FollowLeader) String() string {
	return fmt.Sprintf("make %s follow %s in epoch %d", a.Member, a.Request.Leader, a.Request.Epoch)
}
func (a ConfigureLeader) String() string {
	return fmt.Sprintf("send %s configuration %d", a.Member, a.Request.Version)
}
func (a HandOver) String() string {
	return fmt.Sprintf("hand over from %s to %s", a.Member, a.Request.To)
}
func (a CreateMember) String() string { return "create member " + a.Member }
func (a TryPod) String() string       { return "dry-run a new pod for " + a.Member }
func (a DeletePod) String() string    { return fmt.Sprintf("delete pod %s: %s", a.Name, a.Why) }
func (a DeleteClaim) String() string  { return fmt.Sprintf("delete claim %s: %s", a.Name, a.Why) }
func (a LabelPod) String() string     { return fmt.Sprintf("label pod %s with role %q", a.Name, a.Role) }
func (a RouteClients) String() string {
	if a.Member == "" {
		return "route clients to nobody"
	}
	return "route clients to " + a.Member
}
func (a UnannotatePod) String() string { return fmt.Sprintf("remove %s from pod %s", a.Key, a.Name) }
func (a FinishRequest) String() string {
	return fmt.Sprintf("answer the failover request %q: %s", a.Outcome.Target, a.Outcome.Result)
}
