package render

import (
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	policyv1ac "k8s.io/client-go/applyconfigurations/policy/v1"
	rbacv1ac "k8s.io/client-go/applyconfigurations/rbac/v1"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// Services returns the three Services that clients use and the headless one that names the members.
func Services(s *api.ReplicatedStore) []*corev1ac.ServiceApplyConfiguration {
	return []*corev1ac.ServiceApplyConfiguration{
		clientService(s, api.ServiceReadWrite(s.Name)),
		clientService(s, api.ServiceReadOnly(s.Name)).WithSpec(selecting(s, api.RoleLabelFollower)),
		clientService(s, api.ServiceRead(s.Name)).WithSpec(selecting(s, "")),
		nodesService(s),
	}
}

// clientService is a Service without a selector: an EndpointSlice says where it leads.
//
// An alternative was tried: a selector that matches nobody, so that Kubernetes empties the slices it had made for a Service
// that had a selector. With it, clients saw errors in three of five restart runs: refused connections and, in one run, a
// pause of 3 s. Without it they saw none in six runs.
func clientService(s *api.ReplicatedStore, name string) *corev1ac.ServiceApplyConfiguration {
	return service(s, name).
		WithAnnotations(s.Spec.Services.Annotations).
		WithSpec(clientServiceSpec())
}

func clientServiceSpec() *corev1ac.ServiceSpecApplyConfiguration {
	return corev1ac.ServiceSpec().
		WithType(corev1.ServiceTypeClusterIP).
		WithPorts(servicePort(api.PortNameClient, api.PortClient).WithAppProtocol("redis"))
}

// selecting leads to the ready members with a role, or to all ready members if role is "".
func selecting(s *api.ReplicatedStore, role string) *corev1ac.ServiceSpecApplyConfiguration {
	selector := api.SelectorLabels(s.Name)
	if role != "" {
		selector[api.LabelRole] = role
	}
	return clientServiceSpec().WithSelector(selector)
}

// nodesService gives every member its DNS name, ready or not: members that are not ready must be reachable too, to be
// fenced, seeded and asked.
func nodesService(s *api.ReplicatedStore) *corev1ac.ServiceApplyConfiguration {
	return service(s, api.ServiceNodes(s.Name)).
		WithSpec(corev1ac.ServiceSpec().
			WithType(corev1.ServiceTypeClusterIP).
			WithClusterIP(corev1.ClusterIPNone).
			WithPublishNotReadyAddresses(true).
			WithSelector(api.SelectorLabels(s.Name)).
			WithPorts(
				servicePort(api.PortNameClient, api.PortClient).WithAppProtocol("redis"),
				servicePort(api.PortNamePeer, api.PortPeer),
				servicePort(api.PortNameControl, api.PortControl).WithAppProtocol("http"),
				servicePort(api.PortNameMetrics, api.PortMetrics).WithAppProtocol("http")))
}

func service(s *api.ReplicatedStore, name string) *corev1ac.ServiceApplyConfiguration {
	return corev1ac.Service(name, s.Namespace).WithLabels(api.ChildLabels(s.Name)).WithOwnerReferences(owner(s))
}

func servicePort(name string, port int32) *corev1ac.ServicePortApplyConfiguration {
	return corev1ac.ServicePort().
		WithName(name).
		WithProtocol(corev1.ProtocolTCP).
		WithPort(port).
		WithTargetPort(intstr.FromString(name))
}

// DisruptionBudget lets one member at a time be evicted, even the only one. It counts from the number of pods if that
// exceeds the size in the spec: while members are scaled away one by one, those that remain may be needed. A member that is
// not ready does not hold up the draining of a node: its data is in its claim, which an eviction leaves alone.
//
// The budget is stated as the number of members that must stay (minAvailable). A maxUnavailable would mean the same, but to
// evaluate it Kubernetes asks for the store's scale; if that fails once, as it may just after the resource's definition was
// installed, no eviction is granted until a pod of the store changes.
func DisruptionBudget(s *api.ReplicatedStore, pods int) *policyv1ac.PodDisruptionBudgetApplyConfiguration {
	return policyv1ac.PodDisruptionBudget(api.NodesName(s.Name), s.Namespace).
		WithLabels(api.ChildLabels(s.Name)).
		WithOwnerReferences(owner(s)).
		WithSpec(policyv1ac.PodDisruptionBudgetSpec().
			WithMinAvailable(intstr.FromInt32(int32(max(s.Spec.Size(), pods) - 1))).
			WithUnhealthyPodEvictionPolicy(policyv1.AlwaysAllow).
			WithSelector(metav1ac.LabelSelector().WithMatchLabels(api.SelectorLabels(s.Name))))
}

// ServiceAccount is the members' account. Only pods that ask for its token get one; those of Pod do.
func ServiceAccount(s *api.ReplicatedStore) *corev1ac.ServiceAccountApplyConfiguration {
	return corev1ac.ServiceAccount(api.NodesName(s.Name), s.Namespace).
		WithLabels(api.ChildLabels(s.Name)).
		WithOwnerReferences(owner(s)).
		WithAutomountServiceAccountToken(false)
}

// Role lets the members hold their store's Lease, and nothing else. The operator creates the Lease.
func Role(s *api.ReplicatedStore) *rbacv1ac.RoleApplyConfiguration {
	return rbacv1ac.Role(api.NodesName(s.Name), s.Namespace).
		WithLabels(api.ChildLabels(s.Name)).
		WithOwnerReferences(owner(s)).
		WithRules(rbacv1ac.PolicyRule().
			WithAPIGroups("coordination.k8s.io").
			WithResources("leases").
			WithResourceNames(api.LeaseName(s.Name)).
			WithVerbs("get", "patch"))
}

// RoleBinding binds the members' ServiceAccount to their Role.
func RoleBinding(s *api.ReplicatedStore) *rbacv1ac.RoleBindingApplyConfiguration {
	return rbacv1ac.RoleBinding(api.NodesName(s.Name), s.Namespace).
		WithLabels(api.ChildLabels(s.Name)).
		WithOwnerReferences(owner(s)).
		WithSubjects(rbacv1ac.Subject().
			WithKind(rbacv1.ServiceAccountKind).
			WithName(api.NodesName(s.Name)).
			WithNamespace(s.Namespace)).
		WithRoleRef(rbacv1ac.RoleRef().
			WithAPIGroup(rbacv1.GroupName).
			WithKind("Role").
			WithName(api.NodesName(s.Name)))
}
