package render

import (
	"cmp"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	discoveryv1ac "k8s.io/client-go/applyconfigurations/discovery/v1"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// Destination is the pod of the member to which the -rw Service leads.
type Destination struct {
	Member, IP, Node, Zone string
	UID                    types.UID
	Port                   int32
}

// LeaderPort returns the port of a member's pod for clients that want the leader. A pod made by an earlier operator has no
// such port; it keeps running, and clients use its ordinary port.
func LeaderPort(pod *corev1.Pod) int32 {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if c.Name == Container && p.Name == api.PortNameLeader {
				return p.ContainerPort
			}
		}
	}
	return api.PortClient
}

// Route is the EndpointSlice of the -rw Service, which leads to one member. If to is nil it leads nowhere, and family says
// which family's slice that is, "" meaning IPv4.
//
// Kubernetes' own controller would wait for the pod's label and readiness, and so for its probes, whereas the operator knows
// who leads. Between two leaders the Service leads to the member that is likely to be elected; its leader port makes clients
// wait for the leader instead of serving them what a follower has.
func Route(s *api.ReplicatedStore, to *Destination, family discoveryv1.AddressType) *discoveryv1ac.EndpointSliceApplyConfiguration {
	family = cmp.Or(family, discoveryv1.AddressTypeIPv4)
	port := api.PortLeader(s.UID)
	if to != nil {
		family, port = discoveryv1.AddressTypeIPv4, to.Port
		if ip, err := netip.ParseAddr(to.IP); err == nil && ip.Is6() {
			family = discoveryv1.AddressTypeIPv6
		}
	}
	out := discoveryv1ac.EndpointSlice(RouteName(s.Name, family), s.Namespace).
		WithLabels(api.ChildLabels(s.Name)).
		WithLabels(map[string]string{
			discoveryv1.LabelServiceName: api.ServiceReadWrite(s.Name),
			discoveryv1.LabelManagedBy:   api.AppManagedBy,
		}).
		WithOwnerReferences(owner(s)).
		WithAddressType(family).
		WithPorts(discoveryv1ac.EndpointPort().WithName(api.PortNameClient).WithPort(port).WithProtocol("TCP").WithAppProtocol("redis"))
	if to == nil {
		return out
	}
	e := discoveryv1ac.Endpoint().
		WithAddresses(to.IP).
		WithConditions(discoveryv1ac.EndpointConditions().WithReady(true).WithServing(true).WithTerminating(false)).
		WithTargetRef(corev1ac.ObjectReference().WithKind("Pod").WithNamespace(s.Namespace).WithName(to.Member).WithUID(to.UID))
	if to.Node != "" {
		e.WithNodeName(to.Node)
	}
	if to.Zone != "" {
		e.WithZone(to.Zone)
	}
	return out.WithEndpoints(e)
}

// RouteName returns the name of the EndpointSlice for an address family, which an EndpointSlice never changes.
func RouteName(store string, family discoveryv1.AddressType) string {
	return api.ServiceReadWrite(store) + "-" + strings.ToLower(string(family))
}
