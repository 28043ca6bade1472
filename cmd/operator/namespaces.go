package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// askWithin bounds the time that asking about namespaces takes, at startup for all of them together: kubelet waits a minute for /healthz.
const askWithin = 15 * time.Second

// territory holds the namespaces that the operator is to serve, and those of them that it is not allowed to.
//
// When a namespace is deleted, the operator's RoleBinding in it goes too. If one namespace were forbidden, the caches would never finish
// syncing, and the stores of all other namespaces would have no failover. So forbidden namespaces are not served. Once one is allowed again,
// the process exits and restarts, because a namespace cannot be added to running caches.
type territory struct {
	stores    metadata.Getter
	asked     []string      // the namespaces to serve; nil: all
	forbidden []string      // those of asked that the operator is not allowed to serve
	again     time.Duration // interval of asking about the forbidden ones
}

// survey lists stores in each namespace to find out which namespaces are forbidden. If that cannot be told, for example because the API server
// is unreachable, the namespace counts as allowed.
func survey(ctx context.Context, config *rest.Config, o options) (territory, error) {
	c, err := metadata.NewForConfig(config)
	if err != nil {
		return territory{}, fmt.Errorf("find out which namespaces may be served: %w", err)
	}
	t := territory{stores: c.Resource(v1alpha1.GroupVersion.WithResource("replicatedstores")), asked: o.served(), again: o.askAgain}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	for _, n := range t.asked {
		if err := t.ask(ctx, n); apierrors.IsForbidden(err) {
			t.forbidden = append(t.forbidden, n)
			ctrl.Log.Error(err, "A namespace is not served: it or the operator's RoleBinding in it was deleted. Create both again (helm upgrade), or take it out of --watch-namespaces (watchNamespaces of the chart)", "namespace", n)
		}
	}
	return t, nil
}

// ask lists at most one store of the namespace. The error says whether that is forbidden.
func (t territory) ask(ctx context.Context, namespace string) error {
	_, err := t.stores.Namespace(namespace).List(ctx, metav1.ListOptions{Limit: 1})
	return err
}

// served returns the namespaces that the caches cover; nil means all. If every namespace is forbidden, it returns all of them: the process
// then exits because the caches do not sync.
func (t territory) served() []string {
	if t.none() {
		return t.asked
	}
	return slices.DeleteFunc(slices.Clone(t.asked), func(n string) bool { return slices.Contains(t.forbidden, n) })
}

// none reports whether no namespace may be served, or none was named.
func (t territory) none() bool { return len(t.forbidden) == len(t.asked) }

// Start implements manager.Runnable. It returns an error, which ends the process, once a forbidden namespace is allowed again.
func (t territory) Start(ctx context.Context) error {
	if len(t.forbidden) == 0 || t.none() {
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait.Jitter(t.again, 0.5)): // jitter, so that operators do not restart all at once
		}
		for _, n := range t.forbidden {
			ctx, cancel := context.WithTimeout(ctx, askWithin)
			err := t.ask(ctx, n)
			cancel()
			if err == nil {
				return fmt.Errorf("the namespace %s may be served again: the operator restarts", n)
			}
		}
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable. It returns false because operators on standby have caches, too.
func (territory) NeedLeaderElection() bool { return false }

// explain adds to the error that ends the process that no namespace could be served, if that is so.
func (t territory) explain(err error) error {
	if err == nil || len(t.forbidden) == 0 || !t.none() {
		return err
	}
	return fmt.Errorf("%w (stores may be listed in none of the namespaces to serve: %s)", err, strings.Join(t.forbidden, ", "))
}
