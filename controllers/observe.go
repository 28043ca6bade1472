package controllers

import (
	"cmp"
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/render"
)

// look observes and decides. It starts over as long as the decision asks for something that came from the cache to be
// read from the API server itself. Most looks find nothing to do and nothing new, and cost the API server nothing.
func (p *pass) look(ctx context.Context) (decide.Plan, error) {
	for {
		obs, err := p.observe(ctx)
		if err != nil {
			return decide.Plan{}, fmt.Errorf("observe: %w", err)
		}
		now := p.Clock.Now()
		plan := decide.Decide(obs, now)
		if plan.Reread.Any() {
			p.uncached = p.uncached.And(plan.Reread)
			continue
		}
		p.seen = obs
		p.Planned(obs, plan, now)
		return plan, nil
	}
}

// observe reads everything that a decision needs, and changes nothing.
func (p *pass) observe(ctx context.Context) (decide.Observed, error) {
	if err := p.refreshStore(ctx); err != nil {
		return decide.Observed{}, err
	}
	members, err := p.objects(ctx)
	if err != nil {
		return decide.Observed{}, err
	}
	lease, err := p.askAndRead(ctx, members)
	if err != nil {
		return decide.Observed{}, err
	}
	for _, name := range lease.Record.Named() {
		if _, ok := members[name]; !ok {
			members[name] = p.bare(name)
		}
	}
	route, err := p.routeNow(ctx)
	if err != nil {
		return decide.Observed{}, err
	}
	taken, err := p.serviceTaken(ctx)
	if err != nil {
		return decide.Observed{}, err
	}
	now := p.Clock.Now()
	trial, err := p.trialNow(now)
	if err != nil {
		return decide.Observed{}, err
	}
	obs := decide.Observed{
		Store: p.store, Settings: p.Settings, Lease: lease, Members: members, Pass: p.answers, Standby: !p.Election.acting(), Route: route,
		ServiceTaken: taken, Trial: trial, Unmade: p.Attempts.Unmade(inOneLine),
		Unapplied: maps.Clone(p.unapplied), Unrouted: p.unrouted, Refused: p.refusedLast,
		Cached: decide.Reads{Record: !p.uncached.Record, Members: !p.uncached.Members, Store: !p.uncached.Store},
	}
	p.Remind(&obs, now)
	return obs, nil
}

// refreshStore reads the store from the API server if that is required, and whenever a failover is requested, because a
// stale copy could request the same failover twice.
func (p *pass) refreshStore(ctx context.Context) error {
	if p.store.Annotations[v1alpha1.AnnotationFailover] != "" {
		p.uncached.Store = true
	}
	if !p.uncached.Store {
		return nil
	}
	store := &v1alpha1.ReplicatedStore{} // a new one: decoding into the old copy would keep annotations that were removed
	if err := p.Reader.Get(ctx, client.ObjectKeyFromObject(p.store), store); err != nil {
		return fmt.Errorf("get store uncached: %w", err)
	}
	p.store = store
	return nil
}

func (p *pass) bare(name string) decide.Member {
	ordinal, _ := v1alpha1.MemberOrdinal(p.store.Name, name)
	return decide.Member{Name: name, Ordinal: ordinal, SpecHash: render.SpecHash(p.store)}
}

// objects lists the members' pods and claims, from the cache if that is good enough.
func (p *pass) objects(ctx context.Context) (map[string]decide.Member, error) {
	of := []client.ListOption{client.InNamespace(p.store.Namespace), client.MatchingLabels{v1alpha1.LabelStore: p.store.Name}}
	pods, claims := &corev1.PodList{}, &corev1.PersistentVolumeClaimList{}
	var from client.Reader = p.Client
	if p.uncached.Members {
		from = p.Reader
	}
	if err := from.List(ctx, pods, of...); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	if err := from.List(ctx, claims, of...); err != nil {
		return nil, fmt.Errorf("list claims: %w", err)
	}
	members := map[string]decide.Member{}
	get := func(name string) (decide.Member, bool) {
		if _, ok := v1alpha1.MemberOrdinal(p.store.Name, name); !ok {
			return decide.Member{}, false
		}
		if m, ok := members[name]; ok {
			return m, true
		}
		return p.bare(name), true
	}
	for i := range pods.Items {
		if m, ok := get(pods.Items[i].Name); ok {
			m.Pod = p.pod(ctx, &pods.Items[i])
			members[m.Name] = m
		}
	}
	for i := range claims.Items {
		if m, ok := get(claims.Items[i].Name); ok {
			m.Claim = claimOf(&claims.Items[i], p.store)
			m.Claim.Refused = p.refused[m.Name].why
			members[m.Name] = m
		}
	}
	p.Departed.Recall(members, p.Contacts.Answers, p.Clock.Now())
	return members, nil
}

// pod returns what a decision needs to know of a pod. A pod that belongs to an earlier store of the same name is on its
// way out, and is waited for like one that is being deleted. So is a pod that belongs to nobody, once it has been told to
// go.
func (p *pass) pod(ctx context.Context, pod *corev1.Pod) *decide.Pod {
	out := &decide.Pod{
		UID: pod.UID, IP: pod.Status.PodIP, Port: render.LeaderPort(pod), Node: pod.Spec.NodeName, Role: pod.Labels[v1alpha1.LabelRole],
		SpecHash: pod.Annotations[v1alpha1.AnnotationSpecHash], Restarted: pod.Annotations[v1alpha1.AnnotationRestart],
		Failed:   pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded,
		Deleting: pod.DeletionTimestamp != nil,
		Fenced:   v1alpha1.Fences(pod.Annotations[v1alpha1.AnnotationFenced]),
		FencedAs: pod.Annotations[v1alpha1.AnnotationFenced],
		Trouble:  troubleOf(pod),
	}
	out.Creating, out.Ended = containerOf(pod)
	p.place(ctx, pod, out)
	_, out.Reseed = pod.Annotations[v1alpha1.AnnotationReseed]
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			out.Ready = c.Status == corev1.ConditionTrue
		}
	}
	if !metav1.IsControlledBy(pod, p.store) {
		out.Orphaned = metav1.GetControllerOf(pod) == nil && !out.Deleting
		out.Deleting, out.IP = true, ""
	}
	out.Ready = out.Ready && !out.Deleting // its kubelet says so until the containers have ended
	return out
}

// place sets out's zone, whether its node takes no new pods, and what is wrong with the node. The zone is taken from the
// pod, to which the API server copies it since Kubernetes 1.35, or else from the node. The first two break ties and move
// leadership early, so it is no error if the node cannot be read.
func (p *pass) place(ctx context.Context, pod *corev1.Pod, out *decide.Pod) {
	out.Zone = pod.Labels[corev1.LabelTopologyZone]
	if pod.Spec.NodeName == "" {
		return
	}
	node := &corev1.Node{}
	switch err := p.Client.Get(ctx, client.ObjectKey{Name: pod.Spec.NodeName}, node); {
	case apierrors.IsNotFound(err):
		out.NodeTrouble = "its node " + pod.Spec.NodeName + " is gone"
	case err == nil:
		out.Zone, out.Cordoned = cmp.Or(out.Zone, node.Labels[corev1.LabelTopologyZone]), node.Spec.Unschedulable
		out.NodeTrouble = nodeTroubleOf(node)
	}
}

// claimOf returns what a decision needs to know of a claim. A claim that belongs to an earlier store of the same name was
// meant to go with that store, and will, so it is not taken over.
func claimOf(c *corev1.PersistentVolumeClaim, store *v1alpha1.ReplicatedStore) *decide.Claim {
	earlier := metav1.GetControllerOf(c) != nil && !metav1.IsControlledBy(c, store)
	out := &decide.Claim{
		UID: c.UID, Deleting: c.DeletionTimestamp != nil || earlier, Finalizers: c.Finalizers, Lost: c.Status.Phase == corev1.ClaimLost,
		Blank:     c.Spec.VolumeName == "" && c.Status.Phase != corev1.ClaimLost && c.Spec.DataSource == nil && c.Spec.DataSourceRef == nil,
		Class:     c.Spec.StorageClassName,
		Requested: c.Spec.Resources.Requests[corev1.ResourceStorage], Capacity: c.Status.Capacity[corev1.ResourceStorage],
	}
	for _, cond := range c.Status.Conditions {
		// Resizing is there from the beginning; any other condition says more.
		if cond.Status == corev1.ConditionTrue && (out.Growth == "" || cond.Type != corev1.PersistentVolumeClaimResizing) {
			out.Growth, out.GrowthMessage = string(cond.Type), cond.Message
		}
	}
	return out
}
