package v1alpha1

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// GroupName is the API group, and the prefix of this project's labels and annotations.
const GroupName = "replicatedstore.io"

// Labels of child objects, in addition to the recommended app.kubernetes.io labels.
const (
	// LabelStore holds the store's name.
	LabelStore = GroupName + "/store"
	// LabelMember holds the member's name, which is also the name of its pod and its claim.
	LabelMember = GroupName + "/member"
	// LabelRole holds RoleLabelLeader or RoleLabelFollower on a pod, and is absent while the member does neither. The followers'
	// Service selects by it, so it changes only after the member itself reports its role.
	LabelRole = GroupName + "/role"

	LabelAppName      = "app.kubernetes.io/name"
	LabelAppInstance  = "app.kubernetes.io/instance"
	LabelAppComponent = "app.kubernetes.io/component"
	LabelAppManagedBy = "app.kubernetes.io/managed-by"
)

// Values of the labels above.
const (
	RoleLabelLeader   = "leader"
	RoleLabelFollower = "follower"

	AppName      = "replicatedstore"
	AppComponent = "node"
	AppManagedBy = "replicatedstore-operator"
)

// Annotations that people set.
const (
	// AnnotationFailover on a store asks for another leader. Its value is a member's name or FailoverToAny. If the leader lives, the
	// change is a planned handover, otherwise a failover. When the outcome is known, the operator removes the annotation and reports
	// the outcome in status.failoverRequest.
	AnnotationFailover = GroupName + "/failover"
	// AnnotationFenced on a store, with the value FencedTrue, fences every member: no writes and no linearizable reads are served
	// until it is removed. On a pod it keeps that member from leading: a leader hands over, and the member follows.
	AnnotationFenced = GroupName + "/fenced"
	// AnnotationReconcile on a store, with the value ReconcileDisabled, makes the operator leave the store alone, except that it
	// still reports status. No failover happens meanwhile.
	AnnotationReconcile = GroupName + "/reconcile"
	// AnnotationRestart on a store asks for a restart of every member whose pod does not have the same value: followers first, the
	// leader last, after a handover. The value is arbitrary, usually a time. On a pod, where the operator sets it, it is the value
	// that the store had when the pod was created.
	AnnotationRestart = GroupName + "/restart"
	// AnnotationReseed on a pod asks the operator to throw the member's data away and to seed the member again from the leader. The
	// value is arbitrary (a reason, for the event). It is refused on the leader, and on a voter that writes cannot do without.
	AnnotationReseed = GroupName + "/reseed"
)

// Values of the annotations above.
const (
	// FailoverToAny lets the operator choose the new leader.
	FailoverToAny = "any"
	// ReconcileDisabled is the only value of AnnotationReconcile that has an effect, in upper or lower case.
	ReconcileDisabled = "disabled"
	// FencedTrue is the only value of AnnotationFenced that has an effect, in upper or lower case.
	FencedTrue = "true"
)

// Annotations that the operator sets.
const (
	// AnnotationRecord on the Lease is the authority record, in JSON. Only the operator writes it.
	AnnotationRecord = GroupName + "/record"
	// AnnotationMetricsPort on a pod is the port that serves metrics and takes no orders. Members of earlier versions have no such
	// port.
	AnnotationMetricsPort = GroupName + "/metrics-port"
	// AnnotationSpecHash on a pod identifies the pod template that it was created from. If the template changes, the pod has to be
	// restarted.
	AnnotationSpecHash = GroupName + "/spec-hash"
)

// FieldOwner is the operator's field manager in server-side apply.
const FieldOwner = AppManagedBy

// Names and numbers of the ports of a member's pod.
const (
	PortNameClient  = "client"
	PortNamePeer    = "peer"
	PortNameControl = "control"
	PortNameLeader  = "leader"
	PortNameMetrics = "metrics"

	PortClient  = 6379
	PortPeer    = 6380
	PortControl = 6381
	PortMetrics = 6383

	firstPortLeader, portsLeader = 16_000, 14_000 // between the ports that sidecars use and those that the kernel assigns
)

// PortLeader returns the target port of the -rw Service of the store with that UID. Clients of that port are served by the leader, through
// another member if need be.
//
// The port, from 16000 to 29999, depends on the store because a pod's address may belong to another store's pod a moment later: a node that
// restarts assigns its addresses anew. Connections that are still routed to the old address must then be refused, since clients do not say
// which store they mean.
func PortLeader(store types.UID) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(store)) // never fails
	return firstPortLeader + int32(h.Sum32()%portsLeader)
}

// Bounds that the CRD's schema enforces.
const (
	// MaxNameLength is the maximum length of a store's name. The names of its child objects, and label values, then fit into 63
	// characters with room to spare.
	MaxNameLength = 50
	// MaxHistory is the maximum number of reports in status.failovers, which does not include the newest report.
	MaxHistory = 10
	// MaxReplicas is the maximum number of members of a store.
	MaxReplicas = 9
)

// MemberName returns the name of the member with the given ordinal, which counts from 1. The member's pod and claim have the same name.
func MemberName(store string, ordinal int) string { return fmt.Sprintf("%s-%d", store, ordinal) }

// MemberOrdinal returns the ordinal in a member's name, or false if the name is not one that MemberName returns for the store.
func MemberOrdinal(store, member string) (int, bool) {
	digits, ok := strings.CutPrefix(member, store+"-")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || strconv.Itoa(n) != digits {
		return 0, false
	}
	return n, true
}

// LeaseName returns the name of the Lease that the leader holds and that carries the authority record.
func LeaseName(store string) string { return store }

// ServiceReadWrite returns the name of the Service that routes to the leader.
func ServiceReadWrite(store string) string { return store + "-rw" }

// ServiceReadOnly returns the name of the Service that routes to the followers.
func ServiceReadOnly(store string) string { return store + "-ro" }

// ServiceRead returns the name of the Service that routes to every ready member.
func ServiceRead(store string) string { return store + "-r" }

// ServiceNodes returns the name of the headless Service that gives the members their DNS names, whether they are ready or not.
func ServiceNodes(store string) string { return store + "-nodes" }

// NodesName returns the name of the objects that the members share and that clients never address: ServiceAccount, Role,
// RoleBinding and PodDisruptionBudget. It differs from the store's name, because objects of an application may well have that name.
func NodesName(store string) string { return store + "-nodes" }

// MemberHost returns the DNS name of a member within the cluster. It resolves whether or not the member is ready.
func MemberHost(namespace, store, member string) string {
	return member + "." + ServiceNodes(store) + "." + namespace + ".svc"
}

// SelectorLabels returns the labels that every pod of the store has and that never change.
func SelectorLabels(store string) map[string]string {
	return map[string]string{LabelAppName: AppName, LabelStore: store}
}

// ChildLabels returns the labels of every child object of the store. Claims have them without LabelAppInstance.
func ChildLabels(store string) map[string]string {
	l := SelectorLabels(store)
	l[LabelAppInstance] = store
	l[LabelAppManagedBy] = AppManagedBy
	return l
}

// MemberLabels returns the labels of a member's pod, without LabelRole. The member's claim has them without LabelAppInstance.
func MemberLabels(store, member string) map[string]string {
	l := ChildLabels(store)
	l[LabelAppComponent] = AppComponent
	l[LabelMember] = member
	return l
}
