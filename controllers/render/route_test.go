package render_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/render"
)

// TestRoute: the -rw Service has no selector, so the EndpointSlice alone says where it leads: to one pod, ready whatever its
// probes say, on the Service's named port.
func TestRoute(t *testing.T) {
	s := store("orders")
	for ip, family := range map[string]discoveryv1.AddressType{"10.1.2.3": discoveryv1.AddressTypeIPv4, "fd00::7": discoveryv1.AddressTypeIPv6} {
		r := render.Route(s, &render.Destination{Member: "orders-2", IP: ip, Node: "n1", UID: "uid", Port: 7}, "")
		if *r.AddressType != family || *r.Name != render.RouteName("orders", family) || len(r.Endpoints) != 1 {
			t.Fatalf("%s: %+v", ip, r)
		}
		e := r.Endpoints[0]
		if e.Addresses[0] != ip || !*e.Conditions.Ready || *e.TargetRef.Name != "orders-2" || *e.NodeName != "n1" || e.Zone != nil {
			t.Fatalf("%s: %+v", ip, e)
		}
		for _, svc := range render.Services(s) {
			if *svc.Name == r.Labels[discoveryv1.LabelServiceName] && (svc.Spec.Selector != nil || *svc.Spec.Ports[0].Name != *r.Ports[0].Name) {
				t.Fatalf("%+v does not go with %+v", svc.Spec, r.Ports)
			}
		}
		if p := *r.Ports[0].Port; p != 7 {
			t.Fatalf("to port %d", p)
		}
		if r.Labels[discoveryv1.LabelServiceName] != api.ServiceReadWrite("orders") {
			t.Fatalf("labels %v", r.Labels)
		}
	}
	if r := render.Route(s, nil, discoveryv1.AddressTypeIPv6); len(r.Endpoints) != 0 || *r.Name != render.RouteName("orders", discoveryv1.AddressTypeIPv6) {
		t.Fatalf("to nobody, of IPv6: %+v", r)
	}
	if r := render.Route(s, nil, ""); len(r.Endpoints) != 0 || *r.AddressType != discoveryv1.AddressTypeIPv4 {
		t.Fatalf("%+v", r.Endpoints)
	}
}

// A client that is routed to an address that belongs to another store by now must find nobody there.
func TestStoresHaveLeaderPortsOfTheirOwn(t *testing.T) {
	seen := map[int32]int{}
	for i := range 1000 {
		port := api.PortLeader(types.UID(fmt.Sprintf("0b9d61c7-6cbf-4f41-9e9c-%012d", i)))
		if port < 16_000 || port > 29_999 {
			t.Fatalf("port %d", port)
		}
		seen[port]++
	}
	if len(seen) < 900 { // about 965 if they are random
		t.Errorf("%d ports for 1000 stores", len(seen))
	}
}

// A pod made by an earlier operator, without a port for clients of the leader, keeps using the port that it has.
func TestLeaderPort(t *testing.T) {
	c := func(name string, ports ...corev1.ContainerPort) *corev1.Pod {
		return &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "sidecar", Ports: ports}, {Name: name, Ports: ports}}}}
	}
	client, leader := corev1.ContainerPort{Name: api.PortNameClient, ContainerPort: 6379}, corev1.ContainerPort{Name: api.PortNameLeader, ContainerPort: 6382}
	for name, tc := range map[string]struct {
		pod  *corev1.Pod
		want int32
	}{
		"of now":      {c(render.Container, client, leader), 6382},
		"of before":   {c(render.Container, client), 6379},
		"a sidecar's": {c("other", client, leader), 6379},
	} {
		if got := render.LeaderPort(tc.pod); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}
