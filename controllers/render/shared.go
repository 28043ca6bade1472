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

// Services are the three that clients use and the headless one that names the members.
func Services(s *api.ReplicatedStore) []*corev1ac.ServiceApplyConfiguration {
	return []*corev1ac.ServiceApplyConfiguration{
		clientService(s, api.ServiceReadWrite(s.Name)),
		clientService(s, api.ServiceReadOnly(s.Name)).WithSpec(selecting(s, api.RoleLabelFollower)),
		clientService(s, api.ServiceRead(s.Name)).WithSpec(selecting(s, "")),
		nodesService(s),
	}
}

// clientService is a Service without a selector: where it leads is for an EndpointSlice to say.
// (Tried: a selector that matches nobody, so that Kubernetes empties what it made of a Service that had one. In three of five runs of a
// restart clients met errors then, refused connections and a pause of 3 s in one of them; without it in none of six.)
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

// selecting leads to the ready members of a role, or to all of them.
func selecting(s *api.ReplicatedStore, role string) *corev1ac.ServiceSpecApplyConfiguration {
	selector := api.SelectorLabels(s.Name)
	if role != "" {
		selector[api.LabelRole] = role
	}
	return clientServiceSpec().WithSelector(selector)
}

// nodesService gives every member its DNS name whether or not it is ready: members that are not must be reached too, to be
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

// DisruptionBudget lets one member at a time be evicted, and that of a store of one member; of so many pods, where these are more than
// the spec asks for: while members are scaled away one by one, those that are still there may be needed. Nor does a member that is not ready hold up
// the draining of a node: its data is in its claim, which an eviction leaves alone.
//
// It is said as what must stay, in members: what may be missing at most is the same, but to count from there Kubernetes asks for the
// store's scale, and where that fails once, as just after the resource's definition was installed, it grants nothing until a pod
// of the store changes.
func DisruptionBudget(s *api.ReplicatedStore, pods int) *policyv1ac.PodDisruptionBudgetApplyConfiguration {
	return policyv1ac.PodDisruptionBudget(api.NodesName(s.Name), s.Namespace).
		WithLabels(api.ChildLabels(s.Name)).
		WithOwnerReferences(owner(s)).
		WithSpec(policyv1ac.PodDisruptionBudgetSpec().
			WithMinAvailable(intstr.FromInt32(int32(max(s.Spec.Size(), pods) - 1))).
			WithUnhealthyPodEvictionPolicy(policyv1.AlwaysAllow).
			WithSelector(metav1ac.LabelSelector().WithMatchLabels(api.SelectorLabels(s.Name))))
}

// ServiceAccount of the members. Only pods that ask for its token get one; render.Pod does.
func ServiceAccount(s *api.ReplicatedStore) *corev1ac.ServiceAccountApplyConfiguration {
	return corev1ac.ServiceAccount(api.NodesName(s.Name), s.Namespace).
		WithLabels(api.ChildLabels(s.Name)).
		WithOwnerReferences(owner(s)).
		WithAutomountServiceAccountToken(false)
}

// Role of the members: to hold their store's Lease, and nothing else. Creating it is the operator's.
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

// RoleBinding of the members' ServiceAccount to their Role.
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
