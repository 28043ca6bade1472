// Command operator is the Kubernetes operator: it reconciles ReplicatedStores.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/controllers/render"
)

var version = "dev" // set by the linker

// Leader election among operators. A second operator takes over at once when the first one exits, and within seconds when it dies.
//
// A dead operator need not be detected fast, because failovers do not wait for that (see decide.Observed.Standby): the
// compare-and-swap of the authority record, not this Lease, keeps two operators from interfering. The durations are long because losing
// the election is expensive: if an operator loses it because the API server is slow, its successor applies every child object anew, and
// loads the API server even more.
const (
	leaseDuration = 10 * time.Second
	renewDeadline = 7 * time.Second
	retryPeriod   = 2 * time.Second
	shutdownGrace = 10 * time.Second
	electionID    = "replicatedstore-operator"
)

func main() {
	o, err := parse(os.Args[0], os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case o.showVersion:
		fmt.Println(version)
		return
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&o.log)))
	if err := run(ctrl.SetupSignalHandler(), o); err != nil {
		ctrl.Log.Error(err, "The operator is stopping")
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the API server: %w", err)
	}
	// Client-side throttling would delay failovers exactly when many stores fail at once. The API server does its own.
	config.QPS = -1
	where, err := survey(ctx, config, o)
	if err != nil {
		return err
	}
	mgr, err := manager(config, o, where.served())
	if err != nil {
		return err
	}
	r := &controllers.Reconciler{
		Client:   mgr.GetClient(),
		Reader:   mgr.GetAPIReader(),
		Nodes:    nodeclient.New(nodeclient.DefaultTimeouts()),
		Recorder: mgr.GetEventRecorder("replicatedstore-operator"),
		Clock:    clock.RealClock{},
		Options:  render.Options{Image: o.nodeImage},
		Settings: o.settings,
	}
	if o.leaderElect {
		r.Election, err = controllers.NewElection(mgr, controllers.ElectionOptions{
			Namespace: o.leaderElectNS, Name: electionID, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		})
		if err != nil {
			return err
		}
	}
	if err := r.SetupWithManager(mgr, controller.Options{MaxConcurrentReconciles: o.concurrency}); err != nil {
		return fmt.Errorf("set up the controller: %w", err)
	}
	return errors.Join(
		mgr.AddHealthzCheck("ping", healthz.Ping),
		mgr.AddReadyzCheck("caches", r.Ready),
		mgr.Add(where),
		where.explain(mgr.Start(ctx)),
	)
}

// manager returns a manager whose caches cover the given namespaces, or all namespaces if none is given.
func manager(config *rest.Config, o options, namespaces []string) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("register types: %w", err)
	}
	// Nothing here reads managed fields, so the caches do not keep them.
	caches := cache.Options{ByObject: controllers.Cached(), DefaultTransform: cache.TransformStripManagedFields()}
	for _, n := range namespaces {
		if caches.DefaultNamespaces == nil {
			caches.DefaultNamespaces = map[string]cache.Config{}
		}
		caches.DefaultNamespaces[n] = cache.Config{}
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                  scheme,
		Cache:                   caches,
		Metrics:                 metricsserver.Options{BindAddress: o.metricsAddress},
		HealthProbeBindAddress:  o.probeAddress,
		GracefulShutdownTimeout: new(shutdownGrace),
	})
	if err != nil {
		return nil, fmt.Errorf("create the manager: %w", err)
	}
	return mgr, nil
}
