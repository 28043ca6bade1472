// Package operator_test runs the operator against a real API server and real data nodes. The tests stand in only for the kubelet
// and the volumes: for every pod they run a node in this process, on its own loopback address.
package operator_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	discoveryv1ac "k8s.io/client-go/applyconfigurations/discovery/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/controllers/render"
	"github.com/replicatedstore/replicatedstore/test/apiserver/server"
)

// bounded limits how long anything may take. Nothing is asserted to be fast.
const (
	bounded = 60 * time.Second
	polling = 20 * time.Millisecond
)

// root is the project's directory.
var root = filepath.Join("..", "..", "..")

var (
	config *rest.Config // of a cluster administrator
	scheme *runtime.Scheme
	k8s    client.Client // with config
)

func TestOperator(t *testing.T) {
	if err := server.Present(); err != nil {
		t.Fatal(err)
	}
	RegisterFailHandler(Fail)
	RunSpecs(t, "Operator")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	ctrl.SetLogger(zap.New(zap.WriteTo(GinkgoWriter), zap.UseDevMode(true)))
	scheme = runtime.NewScheme()
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(api.AddToScheme(scheme)).To(Succeed())
	env, started, err := server.Start(root)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(env.Stop)
	config = started
	k8s, err = client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	Expect(server.Grant(ctx, k8s, root)).To(Succeed())
})

// operator is one running operator.
type operator struct {
	cancel context.CancelFunc
	done   chan error
}

// startOperator starts the only operator of one namespace, with the permissions of the operator's own account.
func startOperator(namespace string) *operator {
	GinkgoHelper()
	return startOperatorWith(namespace, func(ctrl.Manager, *controllers.Reconciler) {})
}

// startOperatorWith is startOperator with a modified Reconciler.
func startOperatorWith(namespace string, change func(ctrl.Manager, *controllers.Reconciler)) *operator {
	GinkgoHelper()
	who := rest.CopyConfig(config)
	who.Impersonate = rest.ImpersonationConfig{UserName: server.Account}
	who.QPS = -1
	mgr, err := ctrl.NewManager(who, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: cache.Options{DefaultNamespaces: map[string]cache.Config{namespace: {}}, ByObject: controllers.Cached()},
	})
	Expect(err).NotTo(HaveOccurred())
	settings := decide.DefaultSettings()
	settings.VoterGoneAfter = 3 * time.Second
	r := &controllers.Reconciler{
		Client: onLoopback{mgr.GetClient()}, Reader: mgr.GetAPIReader(), Nodes: nodeclient.New(nodeclient.DefaultTimeouts()),
		Recorder: mgr.GetEventRecorder("replicatedstore-operator"), Clock: clock.RealClock{},
		Options: render.Options{Image: "example/node:v1"}, Settings: settings,
	}
	change(mgr, r)
	Expect(r.SetupWithManager(mgr, controller.Options{SkipNameValidation: new(true)})).To(Succeed())
	ctx, cancel := context.WithCancel(context.Background())
	o := &operator{cancel, make(chan error, 1)}
	go func() { o.done <- mgr.Start(ctx) }()
	return o
}

// onLoopback handles endpoints of Services on loopback, which the API server rejects: it only dry-runs them, with another address.
type onLoopback struct{ client.Client }

func (c onLoopback) Apply(ctx context.Context, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	if slice, ok := obj.(*discoveryv1ac.EndpointSliceApplyConfiguration); ok {
		opts = append(opts, client.DryRunAll)
		for i := range slice.Endpoints {
			slice.Endpoints[i].Addresses = []string{"192.0.2.1"}
		}
	}
	return c.Client.Apply(ctx, obj, opts...)
}

func (o *operator) stop() {
	GinkgoHelper()
	o.cancel()
	Eventually(o.done, bounded).Should(Receive(BeNil()))
}

func newNamespace(ctx context.Context) string {
	GinkgoHelper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "rstore-"}}
	Expect(k8s.Create(ctx, ns)).To(Succeed())
	return ns.Name
}
