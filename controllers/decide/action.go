package decide

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Action is one thing to do. Every action is idempotent.
type Action interface {
	// Risky actions change who leads, who counts or what exists on disk, or are asked for what comes next: at most one is in a plan, and
	// the world is looked at again after it.
	Risky() bool
	fmt.Stringer
}

// WriteRecord swaps the authority record. It fails unless the Lease still has ResourceVersion; "" creates the Lease.
type WriteRecord struct {
	Record          Record
	ResourceVersion string
	// LeaseSeconds is the duration to write beside the record, with its leader as holder.
	LeaseSeconds int32
	// NewLeader: the record names another leadership than before, whose holder has not renewed yet.
	NewLeader bool
}

// FenceMembers asks for the durable promise of Epoch, of all members at once.
type FenceMembers struct {
	Epoch   replication.Epoch
	Members []string
}

// PromoteMember tells the elected member to lead.
type PromoteMember struct {
	Member  string
	Request wire.PromoteRequest
}

// FollowLeader tells a member whom to follow, and where.
type FollowLeader struct {
	Member  string
	Request wire.FollowRequest
}

// ConfigureLeader gives the leader the commit rules of the record.
type ConfigureLeader struct {
	Member  string
	Request wire.ConfigureRequest
}

// HandOver asks the leader to hold writes until another member holds everything.
type HandOver struct {
	Member  string
	Request wire.HandoverRequest
}

// CreateMember makes a member's claim (unless it is there) and its pod.
type CreateMember struct {
	Member  string
	Ordinal int
}

// TryPod asks the API server, in a dry run, whether it takes the pod that a member would get now: Observed.Trial is what it says.
type TryPod struct {
	Member  string
	Ordinal int
}

// DeletePod deletes a pod of this UID.
type DeletePod struct {
	Name string
	UID  types.UID
	Why  string
}

// DeleteClaim deletes a claim of this UID, and with it the data.
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

// RouteClients makes the -rw Service lead to a member; "" to nobody.
type RouteClients struct {
	Member string
}

// UnannotatePod removes an annotation that was handled.
type UnannotatePod struct {
	Name string
	Key  string
}

// FinishRequest publishes the outcome of the failover annotation and then removes it.
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
	return fmt.Sprintf("let %s follow %s in epoch %d", a.Member, a.Request.Leader, a.Request.Epoch)
}
func (a ConfigureLeader) String() string {
	return fmt.Sprintf("give %s configuration %d", a.Member, a.Request.Version)
}
func (a HandOver) String() string {
	return fmt.Sprintf("let %s hand over to %s", a.Member, a.Request.To)
}
func (a CreateMember) String() string { return "create member " + a.Member }
func (a TryPod) String() string       { return "try a new pod for " + a.Member }
func (a DeletePod) String() string    { return fmt.Sprintf("delete pod %s: %s", a.Name, a.Why) }
func (a DeleteClaim) String() string  { return fmt.Sprintf("delete claim %s: %s", a.Name, a.Why) }
func (a LabelPod) String() string     { return fmt.Sprintf("label pod %s with role %q", a.Name, a.Role) }
func (a RouteClients) String() string {
	if a.Member == "" {
		return "lead clients to nobody"
	}
	return "lead clients to " + a.Member
}
func (a UnannotatePod) String() string { return fmt.Sprintf("remove %s from pod %s", a.Key, a.Name) }
func (a FinishRequest) String() string {
	return fmt.Sprintf("answer the failover request %q: %s", a.Outcome.Target, a.Outcome.Result)
}
