package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/apiserver/kubelet"
	"github.com/replicatedstore/replicatedstore/test/apiserver/server"
)

// Namespaces of the stores and of the operator.
const (
	storesIn   = "bench"
	operatorIn = "operator"
)

// bench is one run of the benchmark.
type bench struct {
	out io.Writer
	o   options
	dir string

	env      *envtest.Environment
	client   client.Client
	cache    cache.Cache
	uncache  context.CancelFunc
	fleet    *fleet
	kubelet  *kubelet.Kubelet
	operator *operator
	audit    *audit
	logs     io.Closer // of the API server
	made     int       // number of stores created
}

// policy makes the API server audit the operator's requests, and nothing else.
const policy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, users: ["` + server.Account + `"]}
- {level: None}
`

// begin starts API server, operator and kubelet.
func begin(ctx context.Context, out io.Writer, o options) (b *bench, err error) {
	if err := server.Present(); err != nil {
		return nil, err
	}
	b = &bench{out: out, o: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.end())
		}
	}()
	if b.dir, err = filepath.Abs(o.dir); err != nil {
		return b, err
	}
	if err := errors.Join(os.RemoveAll(b.dir), os.MkdirAll(b.dir, 0o755)); err != nil {
		return b, err
	}
	if err := connect(); err != nil {
		return b, err
	}
	klog.SetLogger(logr.Discard()) // drops the clients' messages about ended watches
	ctrl.SetLogger(logr.Discard())
	fmt.Fprintf(out, "starting an API server; logs go to %s\n", o.dir)
	config, err := b.startPlane()
	if err != nil {
		return b, err
	}
	if err := b.startCache(ctx, config); err != nil {
		return b, err
	}
	leases, err := coordinationclient.NewForConfig(config)
	if err != nil {
		return b, err
	}
	b.fleet = newFleet(leases.Leases(storesIn))
	b.kubelet = kubelet.Start(kubelet.Options{
		Client: b.client, Reader: b.cache, Namespace: storesIn, Every: 100 * time.Millisecond, Start: b.fleet.start, First: self.Next(),
		Log: func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) },
	})
	return b, b.startOperator(ctx, config)
}

func (b *bench) startPlane() (*rest.Config, error) {
	audited := filepath.Join(b.dir, "audit.log")
	rules := filepath.Join(b.dir, "audit-policy.yaml")
	if err := os.WriteFile(rules, []byte(policy), 0o644); err != nil {
		return nil, err
	}
	b.env = server.New(b.o.root)
	b.env.ControlPlaneStartTimeout = time.Minute
	log, err := os.Create(filepath.Join(b.dir, "kube-apiserver.log"))
	if err != nil {
		return nil, err
	}
	b.logs = log
	apiserver := b.env.ControlPlane.GetAPIServer()
	apiserver.Out, apiserver.Err = log, log
	apiserver.Configure().
		Set("audit-policy-file", rules).Set("audit-log-path", audited).
		Set("advertise-address", self.String()).       // otherwise it looks for a default route
		Set("service-cluster-ip-range", "10.0.0.0/12") // room for four Services per store
	b.env.ControlPlane.Etcd = &envtest.Etcd{}
	b.env.ControlPlane.Etcd.Configure().Append("unsafe-no-fsync", "true") // we do not measure the disk
	config, err := b.env.Start()
	if err != nil {
		return nil, fmt.Errorf("start the API server: %w", err)
	}
	config.QPS, config.UserAgent = -1, "bench"
	b.audit = &audit{path: audited}
	return config, nil
}

func (b *bench) startCache(ctx context.Context, config *rest.Config) error {
	scheme := runtime.NewScheme()
	err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
	if err != nil {
		return err
	}
	if b.client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	for _, name := range []string{storesIn, operatorIn} {
		if err := b.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return err
		}
	}
	if b.cache, err = cache.New(config, cache.Options{Scheme: scheme, DefaultNamespaces: map[string]cache.Config{storesIn: {}}}); err != nil {
		return err
	}
	for _, o := range []client.Object{&corev1.Pod{}, &corev1.PersistentVolumeClaim{}, &v1alpha1.ReplicatedStore{}} {
		if _, err := b.cache.GetInformer(ctx, o, cache.BlockUntilSynced(false)); err != nil {
			return err
		}
	}
	cached, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b.uncache = cancel
	go func() { _ = b.cache.Start(cached) }() // runs until the end of the run
	if !b.cache.WaitForCacheSync(ctx) {
		return errors.New("the bench's own cache does not fill")
	}
	return nil
}

// end stops everything that was started.
func (b *bench) end() error {
	if b.operator != nil {
		b.operator.process.Stop(10 * time.Second)
	}
	if b.kubelet != nil {
		b.kubelet.Stop()
	}
	if b.fleet != nil {
		b.fleet.stop()
	}
	if b.uncache != nil {
		b.uncache()
	}
	var err error
	if b.env != nil {
		err = b.env.Stop()
	}
	if b.logs != nil {
		err = errors.Join(err, b.logs.Close())
	}
	return err
}

// broken returns an error if any store broke an invariant of the protocol.
func (b *bench) broken() error {
	var errs []error
	for _, s := range b.fleet.all() {
		for _, why := range s.cluster.Broken(false) {
			errs = append(errs, fmt.Errorf("%s: %s", s.name, why))
		}
	}
	return errors.Join(errs...)
}
