package stage

import (
	"context"
	"path/filepath"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// What an administrator does by hand.

// Drain empties a node as `kubectl drain` does, and waits until it is empty. It spares the members of stores with the name spared:
// other people's members may have nowhere else to run, and Drain would wait for them.
func (s *Stage) Drain(ctx context.Context, node, spared string) error {
	kubectl, err := s.toolPath(ctx, "kubectl")
	if err != nil {
		return err
	}
	return s.tool(ctx, kubectl, "drain", node, "--kubeconfig", s.Kubeconfig, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=2m",
		"--pod-selector="+v1alpha1.LabelStore+"!="+spared)
}

// Plugin runs kubectl-rstore on a store's namespace.
func (s *Store) Plugin(ctx context.Context, args ...string) error {
	if err := s.tool(ctx, "make", "--no-print-directory", "build"); err != nil {
		return err
	}
	return s.tool(ctx, filepath.Join(s.Root, "bin", "kubectl-rstore"), append(args, "--kubeconfig", s.Kubeconfig, "--namespace", s.Namespace)...)
}

// Exec runs a program in the container of a member, as `kubectl exec` does.
func (s *Store) Exec(ctx context.Context, member string, program ...string) error {
	kubectl, err := s.toolPath(ctx, "kubectl")
	if err != nil {
		return err
	}
	args := []string{"exec", member, "--kubeconfig", s.Kubeconfig, "--namespace", s.Namespace, "--"}
	return s.tool(ctx, kubectl, append(args, program...)...)
}
