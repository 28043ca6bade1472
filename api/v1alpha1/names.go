package v1alpha1

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// GroupName is the API group, and the prefix of every label and annotation of this project.
const GroupName = "replicatedstore.io"

// Labels of every child object, beside the recommended app.kubernetes.io ones.
const (
	// LabelStore holds the store's name.
	LabelStore = GroupName + "/store"
	// LabelMember holds the member's name (which is the pod's and the claim's too).
	LabelMember = GroupName + "/member"
	// LabelRole holds RoleLabelLeader or RoleLabelFollower on pods, and is absent while a member does neither. The Service of
	// the followers selects by it, so it moves only after the member itself says what it does.
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
	// AnnotationFailover on a store asks for another leader: a member's name, or FailoverToAny. It is a planned handover when
	// the leader lives, a failover otherwise. The operator removes it when it has an outcome, which is then in
	// status.failoverRequest.
	AnnotationFailover = GroupName + "/failover"
	// AnnotationFenced on a store, with the value "true", fences every member: no write and no linearizable read is served
	// until it is removed. On a pod it keeps that member from leading: it hands over if it leads, and goes on following.
	AnnotationFenced = GroupName + "/fenced"
	// AnnotationReconcile on a store, with the value ReconcileDisabled, makes the operator leave the store alone (it goes on
	// reporting status). No failover happens meanwhile.
	AnnotationReconcile = GroupName + "/reconcile"
	// AnnotationRestart on a store asks for a restart of every member whose pod does not have the same value: followers first,
	// the leader last, after a handover. Its value is free; a time is usual. On a pod, where the operator sets it, it says after
	// which request the pod was made.
	AnnotationRestart = GroupName + "/restart"
	// AnnotationReseed on a pod asks to throw the member's data away and to seed it again from the leader. Its value is free
	// (a reason, for the event). Refused on the leader, and on a voter without which no write could be acknowledged.
	AnnotationReseed = GroupName + "/reseed"
)

// Values of the annotations above.
const (
	// FailoverToAny lets the operator choose the new leader.
	FailoverToAny = "any"
	// ReconcileDisabled is the one value of AnnotationReconcile that means something.
	ReconcileDisabled = "disabled"
	// FencedTrue is the one value of AnnotationFenced that means something.
	FencedTrue = "true"
)

// Annotations that the operator sets.
const (
	// AnnotationRecord on the Lease is the authority record: JSON, written by the operator only.
	AnnotationRecord = GroupName + "/record"
	// AnnotationMetricsPort on a pod is where it tells metrics and takes no orders; members of earlier versions have no such port.
	AnnotationMetricsPort = GroupName + "/metrics-port"
	// AnnotationSpecHash on a pod names the pod template it was made from; a different one asks for a restart.
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

	firstPortLeader, portsLeader = 16_000, 14_000 // below are sidecars', above are those that the kernel gives out
)

// PortLeader is where the -rw Service of the store of that UID leads: whoever comes there is served by the leader, over another member if
// need be. It is the store's own, from 16000 to 29999, for a pod's address may be another store's pod's a moment later (a node that
// restarts gives out its addresses anew), and who is led there by then must be refused: clients do not say which store they mean.
func PortLeader(store types.UID) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(store)) // never fails
	return firstPortLeader + int32(h.Sum32()%portsLeader)
}

// Bounds of what the names below are made from. The CRD's rules hold them.
const (
	// MaxNameLength of a store: every child's name, and every label value, then fits 63 characters with room to spare.
	MaxNameLength = 50
	// MaxHistory is how many reports of failovers a status keeps beside the newest.
	MaxHistory = 10
	// MaxReplicas of one store.
	MaxReplicas = 9
)

// MemberName is the name of the member with the given ordinal (from 1), and of its pod and claim.
func MemberName(store string, ordinal int) string { return fmt.Sprintf("%s-%d", store, ordinal) }

// MemberOrdinal reads the ordinal back out of a member's name; false when the name is not one of the store's members.
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

// LeaseName is the name of the Lease that the leader holds and that carries the authority record.
func LeaseName(store string) string { return store }

// ServiceReadWrite is the name of the Service that leads to the leader.
func ServiceReadWrite(store string) string { return store + "-rw" }

// ServiceReadOnly is the name of the Service that leads to the followers.
func ServiceReadOnly(store string) string { return store + "-ro" }

// ServiceRead is the name of the Service that leads to every ready member.
func ServiceRead(store string) string { return store + "-r" }

// ServiceNodes is the name of the headless Service that gives members their DNS names, ready or not.
func ServiceNodes(store string) string { return store + "-nodes" }

// NodesName is the name of the objects that the members share and that clients never address: ServiceAccount, Role,
// RoleBinding and PodDisruptionBudget. It is not the bare store name, which an application's own objects may well have.
func NodesName(store string) string { return store + "-nodes" }

// MemberHost is the DNS name of a member within the cluster. It resolves whether or not the member is ready.
func MemberHost(namespace, store, member string) string {
	return member + "." + ServiceNodes(store) + "." + namespace + ".svc"
}

// SelectorLabels are the labels that every pod of the store has and that never change.
func SelectorLabels(store string) map[string]string {
	return map[string]string{LabelAppName: AppName, LabelStore: store}
}

// ChildLabels are the labels of every child object of the store; of claims without LabelAppInstance.
func ChildLabels(store string) map[string]string {
	l := SelectorLabels(store)
	l[LabelAppInstance] = store
	l[LabelAppManagedBy] = AppManagedBy
	return l
}

// MemberLabels are the labels of a member's pod, without its role. Its claim has them but for LabelAppInstance.
func MemberLabels(store, member string) map[string]string {
	l := ChildLabels(store)
	l[LabelAppComponent] = AppComponent
	l[LabelMember] = member
	return l
}
