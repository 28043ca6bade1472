// Package apiserver_test checks against a real API server what that enforces: the defaults and rules of the CRD, the scale
// subresource, the columns, the samples, and that the permissions of the operator and the members are sufficient and minimal.
package apiserver_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/apiserver/server"
)

var (
	config     *rest.Config // of a cluster administrator
	kubeconfig string       // a file with the same configuration
	scheme     *runtime.Scheme
	k8s        client.Client // with config
	namespace  string        // a new one for every spec
)

func TestAPIServer(t *testing.T) {
	if err := server.Present(); err != nil {
		t.Fatal(err)
	}
	RegisterFailHandler(Fail)
	RunSpecs(t, "API server")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	scheme = runtime.NewScheme()
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(api.AddToScheme(scheme)).To(Succeed())
	env, started, err := server.Start(filepath.Join("..", ".."))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(env.Stop)
	config = started
	kubeconfig = filepath.Join(GinkgoT().TempDir(), "kubeconfig")
	Expect(os.WriteFile(kubeconfig, env.KubeConfig, 0o600)).To(Succeed())
	k8s, err = client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
})

var _ = BeforeEach(func(ctx SpecContext) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "rstore-"}}
	Expect(k8s.Create(ctx, ns)).To(Succeed())
	namespace = ns.Name
})

// manifest returns a store as a user would write it: only spec is set, and no Go zero value gets into it.
func manifest(name, spec string) *unstructured.Unstructured {
	GinkgoHelper()
	var fields map[string]any
	Expect(yaml.Unmarshal([]byte(spec), &fields)).To(Succeed())
	u := &unstructured.Unstructured{Object: map[string]any{"spec": fields}}
	u.SetGroupVersionKind(api.GroupVersionKind())
	u.SetNamespace(namespace)
	u.SetName(name)
	return u
}

// created returns the store as the API server has stored it.
func created(ctx context.Context, name, spec string) *api.ReplicatedStore {
	GinkgoHelper()
	Expect(k8s.Create(ctx, manifest(name, spec))).To(Succeed())
	return stored(ctx, name)
}

func stored(ctx context.Context, name string) *api.ReplicatedStore {
	GinkgoHelper()
	s := &api.ReplicatedStore{}
	Expect(k8s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, s)).To(Succeed())
	return s
}

// update replaces the spec of a store.
func update(ctx context.Context, name, spec string) error {
	GinkgoHelper()
	u := manifest(name, spec)
	u.SetResourceVersion(stored(ctx, name).ResourceVersion)
	return k8s.Update(ctx, u)
}
