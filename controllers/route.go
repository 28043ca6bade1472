package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/render"
)

// routeNow returns where the -rw Service leads, as far as the cache knows: nil if nowhere yet. What this operator last wrote
// counts until the cache has caught up with it.
func (p *pass) routeNow(ctx context.Context) (*decide.Route, error) {
	slices := &discoveryv1.EndpointSliceList{}
	if err := p.Client.List(ctx, slices, client.InNamespace(p.store.Namespace), client.MatchingLabels{
		discoveryv1.LabelServiceName: v1alpha1.ServiceReadWrite(p.store.Name), discoveryv1.LabelManagedBy: v1alpha1.AppManagedBy,
	}); err != nil {
		return nil, fmt.Errorf("list EndpointSlices: %w", err)
	}
	var route *decide.Route
	version := ""
	for i := range slices.Items {
		s := &slices.Items[i]
		if version += s.ResourceVersion + " "; route == nil {
			route = &decide.Route{}
		}
		for _, e := range s.Endpoints {
			if e.TargetRef != nil && len(e.Addresses) == 1 {
				*route = decide.Route{UID: e.TargetRef.UID, IP: e.Addresses[0]}
				p.routeFamily = s.AddressType
			}
		}
	}
	if w := p.routed; w != nil && w.before == version {
		return &w.route, nil
	}
	p.routed = nil
	p.routeVersion = version
	return route, nil
}

// serviceTaken reports whether the Service with the -rw name belongs to somebody else, as far as the cache knows.
func (p *pass) serviceTaken(ctx context.Context) (bool, error) {
	service := &metav1.PartialObjectMetadata{}
	service.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Service"))
	name := v1alpha1.ServiceReadWrite(p.store.Name)
	if err := p.Client.Get(ctx, client.ObjectKey{Namespace: p.store.Namespace, Name: name}, service); err != nil {
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return false, fmt.Errorf("get Service %s: %w", name, err)
	}
	return p.theirs(service), nil
}

// routed is where this operator last pointed the Service.
type routed struct {
	route  decide.Route
	before string // what the cache held at that time
}

// routeAgain is how soon a route that could not be written is retried: clients wait for it.
const routeAgain = 500 * time.Millisecond

// route points the -rw Service to a member. A failure is reported and retried soon, and holds up nothing else.
func (p *pass) route(ctx context.Context, a decide.RouteClients) error {
	var to *render.Destination
	var route decide.Route
	if m := p.seen.Members[a.Member]; a.Member != "" && m.Pod != nil {
		to = &render.Destination{Member: a.Member, IP: m.Pod.IP, Port: m.Pod.Port, Node: m.Pod.Node, Zone: m.Pod.Zone, UID: m.Pod.UID}
		route = decide.Route{UID: m.Pod.UID, IP: m.Pod.IP}
	}
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	if err := p.Client.Apply(ctx, render.Route(p.store, to, p.routeFamily), client.FieldOwner(v1alpha1.FieldOwner), client.ForceOwnership); err != nil {
		log.FromContext(ctx).Info("Could not route clients to the leader", keyMember, a.Member, keyMessage, err.Error())
		p.warnOf("Lead", a.Member, v1alpha1.ReasonApplyFailed, fmt.Errorf("route clients to %q: %w", a.Member, err))
		p.unrouted = brief(err.Error())
		p.within(routeAgain)
		return nil
	}
	p.unrouted = ""
	p.routed = &routed{route: route, before: p.routeVersion}
	return nil
}
