// Package server runs a real kube-apiserver with etcd, and no other part of a cluster, for tests and benchmarks of the operator.
//
// May import: what it takes to do that. It knows the project's manifests and nothing of its code.
package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"
)

// Account is the operator's user name.
const Account = "system:serviceaccount:replicatedstore-system:replicatedstore-operator"

// Present returns an error if the API server's binaries are missing: a suite that was skipped proves nothing.
func Present() error {
	dir := os.Getenv("KUBEBUILDER_ASSETS")
	if dir == "" {
		return errors.New("KUBEBUILDER_ASSETS is not set, and this needs a real API server: run `make test-apiserver` or `make bench-operator`, " +
			"or build kube-apiserver and etcd from hack/tools/kube and name their directory")
	}
	for _, name := range []string{"kube-apiserver", "etcd"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.IsDir() {
			return fmt.Errorf("%s is missing in KUBEBUILDER_ASSETS=%s: build it from hack/tools/kube (etcd is its server/v3), or run `make tools`", name, dir)
		}
	}
	return nil
}

// Start starts an API server that knows the project's custom resource. root is the project's directory. It tries again, because envtest
// gives the default namespace five seconds, and a busy machine takes longer now and then.
func Start(root string) (env *envtest.Environment, config *rest.Config, err error) {
	for range 3 {
		env = New(root)
		if config, err = env.Start(); err == nil {
			return env, config, nil
		}
		err = errors.Join(err, env.Stop())
	}
	return nil, nil, err
}

// New returns an API server, not yet started, that will know the project's custom resource. root is the project's directory.
func New(root string) *envtest.Environment {
	return &envtest.Environment{
		CRDDirectoryPaths: []string{filepath.Join(root, "config", "crd", "bases")}, ErrorIfCRDPathMissing: true,
		CRDInstallOptions:        envtest.CRDInstallOptions{MaxTime: time.Minute},
		ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: time.Minute,
	}
}

// Grant gives the operator's account exactly the permissions that config/rbac gives it.
func Grant(ctx context.Context, c client.Client, root string) error {
	role := &rbacv1.ClusterRole{}
	text, err := os.ReadFile(filepath.Join(root, "config", "rbac", "role.yaml"))
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(text, role); err != nil {
		return fmt.Errorf("read the operator's role: %w", err)
	}
	if err := c.Create(ctx, role); err != nil {
		return err
	}
	return c.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: Account}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
	})
}
