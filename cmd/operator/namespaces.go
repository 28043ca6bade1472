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

// askWithin bounds how long the namespaces are asked for, all of them together: kubelet waits for /healthz for a minute.
const askWithin = 15 * time.Second

// territory is the namespaces that the operator is to serve, and what it may. A namespace that was deleted took the operator's RoleBinding
// along; caches that one namespace is refused to never say that they are complete, and stores of all the others would have no failover.
// So such a namespace is left out, and the process begins anew once it is allowed: caches take no namespace in later.
type territory struct {
	stores    metadata.Getter
	asked     []string // nil: all there are
	forbidden []string // of those
	again     time.Duration
}

// survey asks for the stores of each namespace. What cannot be told, as while the API server is away, counts as allowed.
func survey(ctx context.Context, config *rest.Config, o options) (territory, error) {
	c, err := metadata.NewForConfig(config)
	if err != nil {
		return territory{}, fmt.Errorf("find out what may be served: %w", err)
	}
	t := territory{stores: c.Resource(v1alpha1.GroupVersion.WithResource("replicatedstores")), asked: o.served(), again: o.askAgain}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	for _, n := range t.asked {
		if err := t.ask(ctx, n); apierrors.IsForbidden(err) {
			t.forbidden = append(t.forbidden, n)
			ctrl.Log.Error(err, "A namespace is not served: it was deleted, or the operator's RoleBinding in it was. Make both again (helm upgrade), or "+
				"take it out of --watch-namespaces (watchNamespaces of the chart)", "namespace", n)
		}
	}
	return t, nil
}

func (t territory) ask(ctx context.Context, namespace string) error {
	_, err := t.stores.Namespace(namespace).List(ctx, metav1.ListOptions{Limit: 1})
	return err
}

// served is what caches are made for. Where nothing is allowed that is everything: the process ends when they do not fill.
func (t territory) served() []string {
	if t.none() {
		return t.asked
	}
	return slices.DeleteFunc(slices.Clone(t.asked), func(n string) bool { return slices.Contains(t.forbidden, n) })
}

func (t territory) none() bool { return len(t.forbidden) == len(t.asked) }

// Start is manager.Runnable's: it ends the process, by an error, once a namespace that was left out is allowed.
func (t territory) Start(ctx context.Context) error {
	if len(t.forbidden) == 0 || t.none() {
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait.Jitter(t.again, 0.5)): // not all operators at once
		}
		for _, n := range t.forbidden {
			ctx, cancel := context.WithTimeout(ctx, askWithin)
			err := t.ask(ctx, n)
			cancel()
			if err == nil {
				return fmt.Errorf("the namespace %s may be served again: the operator begins anew", n)
			}
		}
	}
}

// NeedLeaderElection is manager.LeaderElectionRunnable's: whoever waits for its turn has caches, too.
func (territory) NeedLeaderElection() bool { return false }

// explain adds to why the process ends that nothing could be served.
func (t territory) explain(err error) error {
	if err == nil || len(t.forbidden) == 0 || !t.none() {
		return err
	}
	return fmt.Errorf("%w (stores may be listed in none of the namespaces to serve: %s)", err, strings.Join(t.forbidden, ", "))
}
