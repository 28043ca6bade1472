package controllers

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// SetupWithManager registers the controller, its watches and the members' status streams.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, o controller.Options) error {
	wakes := make(chan types.NamespacedName, 64)
	r.watcher = nodeclient.NewWatcher(r.Nodes, nodeclient.DefaultTimeouts().Quiet, func(store types.NamespacedName) {
		wakes <- store // the receiver only adds to a queue, which coalesces
	})
	o.RateLimiter = retries()
	o.LogConstructor = func(r *reconcile.Request) logr.Logger {
		if r == nil {
			return mgr.GetLogger()
		}
		return mgr.GetLogger().WithValues(keyStore, r.NamespacedName)
	}
	o.NeedLeaderElection = new(false) // see decide.Observed.Standby
	r.applies = make(chan struct{}, maxApplies)
	return errors.Join(mgr.Add(r.watcher), r.endings(mgr), r.stand(mgr, wakes), ctrl.NewControllerManagedBy(mgr).
		Named("replicatedstore").
		For(&v1alpha1.ReplicatedStore{}, builder.WithPredicates(storeChanged())).
		Owns(&corev1.Pod{}).
		Watches(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestsFromMapFunc(byLabel)).
		Owns(&corev1.Service{}, builder.OnlyMetadata).
		Owns(&discoveryv1.EndpointSlice{}).
		Owns(&corev1.ServiceAccount{}, builder.OnlyMetadata).
		Owns(&rbacv1.Role{}, builder.OnlyMetadata).
		Owns(&rbacv1.RoleBinding{}, builder.OnlyMetadata).
		Owns(&policyv1.PodDisruptionBudget{}, builder.OnlyMetadata, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&coordinationv1.Lease{}, r.leaseHandler()).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(r.storesOn), builder.WithPredicates(cordoned())).
		WatchesRawSource(woken(wakes)).
		WithOptions(o).
		Complete(r))
}

// started belongs to no store. The very first pass is made for it: passes begin once all caches are filled.
var started = reconcile.Request{}

// woken is a source that enqueues started, and then the stores to be looked at.
func woken(wakes <-chan types.NamespacedName) source.Source {
	return source.Func(func(ctx context.Context, q queue) error {
		q.Add(started)
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case store := <-wakes:
					q.Add(reconcile.Request{NamespacedName: store})
				}
			}
		}()
		return nil
	})
}

// Ready returns an error until passes are being made, that is, until all caches that they read are filled. It never blocks.
// (A healthz.Checker.)
func (r *Reconciler) Ready(*http.Request) error {
	if !r.ready.Load() {
		return errors.New("not ready: the caches are still syncing")
	}
	return nil
}

// tellActing sets the metric that says whether this operator acts: it is elected, and passes are being made.
func (r *Reconciler) tellActing() {
	r.telling.Lock() // so that whoever sets it last has seen both
	defer r.telling.Unlock()
	operatorActs.Set(truth(r.ready.Load() && r.Election.acting()))
}

// stand has this operator stand for election, if there is one. Whenever the outcome changes, every store is looked at again
// at once.
func (r *Reconciler) stand(mgr ctrl.Manager, wakes chan<- types.NamespacedName) error {
	if r.Election == nil {
		return nil
	}
	r.Election.sights = r.sights
	r.Election.changed = r.electionChanged(wakes)
	return mgr.Add(r.Election)
}

// electionChanged returns the function to call when this operator was elected, or no longer is.
func (r *Reconciler) electionChanged(wakes chan<- types.NamespacedName) func(context.Context) {
	return func(ctx context.Context) {
		r.tellActing()
		r.memories.Range(func(store, _ any) bool {
			select {
			case wakes <- store.(types.NamespacedName):
				return true
			case <-ctx.Done():
				return false
			}
		})
	}
}

// retries paces the passes of a store whose last pass failed. What failed may be a Service that cannot be applied while the
// leader is silent, and only another look shows that it is time to act. So the pause stays far below a Lease's duration,
// where the default would grow to a quarter of an hour.
func retries() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, time.Second)
}

// storeChanged drops updates that the operator itself writes, which are to status.
func storeChanged() predicate.Predicate {
	return predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{},
		predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetDeletionTimestamp() != nil }))
}

// byLabel finds the store of a claim. A claim may outlive its store and so need not be owned by it.
func byLabel(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[v1alpha1.LabelStore]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
}

// cordoned passes only a change in whether a node takes new pods.
func cordoned() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, ok := e.ObjectOld.(*corev1.Node)
			is, also := e.ObjectNew.(*corev1.Node)
			return ok && also && was.Spec.Unschedulable != is.Spec.Unschedulable
		},
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// storesOn finds the stores with a member on a node.
func (r *Reconciler) storesOn(ctx context.Context, node client.Object) (out []reconcile.Request) {
	pods := &corev1.PodList{}
	if err := r.Client.List(ctx, pods, client.MatchingLabels{v1alpha1.LabelAppName: v1alpha1.AppName}); err != nil {
		return nil // each store is looked at regularly anyway
	}
	for _, p := range pods.Items {
		if p.Spec.NodeName == node.GetName() {
			out = append(out, byLabel(ctx, &p)...)
		}
	}
	return out
}

// leaseHandler records every renewal when it happens, and wakes nobody for it. A store is woken if the record changes or the
// Lease is deleted: that may be the work of a person or of another operator.
func (r *Reconciler) leaseHandler() handler.EventHandler {
	note := func(o client.Object) (types.NamespacedName, bool) {
		key := client.ObjectKeyFromObject(o)
		m, known := r.memories.Load(key) // a store's Lease has the store's name
		if lease, ok := o.(*coordinationv1.Lease); known && ok {
			m.(*memory).Lease.See(renewalOf(lease), r.Clock.Now())
		}
		return key, known
	}
	return handler.Funcs{
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			key, known := note(e.ObjectNew)
			if known && e.ObjectOld.GetAnnotations()[v1alpha1.AnnotationRecord] != e.ObjectNew.GetAnnotations()[v1alpha1.AnnotationRecord] {
				q.Add(reconcile.Request{NamespacedName: key})
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) {
			if key, known := note(e.Object); known {
				q.Add(reconcile.Request{NamespacedName: key})
			}
		},
	}
}
