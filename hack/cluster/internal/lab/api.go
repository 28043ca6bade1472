package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/storage"
)

// apiClient is a client of the cluster's API server, used from the host.
type apiClient struct{ kubernetes.Interface }

func (l *Lab) connect() (apiClient, error) {
	config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
	if err != nil {
		return apiClient{}, fmt.Errorf("load kubeconfig: %w", err)
	}
	config.Timeout = 5 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return apiClient{}, fmt.Errorf("create API client: %w", err)
	}
	return apiClient{client}, nil
}

// waitReady waits until the API server reports that it is ready.
func (a apiClient) waitReady(ctx context.Context, bound time.Duration) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, bound, true, func(ctx context.Context) (bool, error) {
		_, last = a.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the API server: %w (last answer: %v)", err, last)
	}
	return nil
}

// waitNodes waits until every one of the nodes is ready.
func (a apiClient) waitNodes(ctx context.Context, names []string, bound time.Duration) error {
	missing := names
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, bound, true, func(ctx context.Context) (bool, error) {
		ready, err := a.readyNodes(ctx)
		if err != nil {
			return false, nil // retried until the bound
		}
		missing = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return ready[n] })
		return len(missing) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("wait for workers %s: %w", strings.Join(missing, ", "), err)
	}
	return nil
}

// waitServiceAccount waits until pods can be created in the default namespace.
func (a apiClient) waitServiceAccount(ctx context.Context, bound time.Duration) error {
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, bound, true, func(ctx context.Context) (bool, error) {
		_, err := a.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil // retried until the bound
	})
	if err != nil {
		return fmt.Errorf("wait for the default service account: %w", err)
	}
	return nil
}

// readyNodes returns, for each node that the API server knows, whether it is ready.
func (a apiClient) readyNodes(ctx context.Context) (map[string]bool, error) {
	nodes, err := a.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	ready := map[string]bool{}
	for _, n := range nodes.Items {
		ready[n.Name] = slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
	}
	return ready, nil
}

// applyAddons creates what assets/addons.yaml lists.
func (l *Lab) applyAddons(ctx context.Context, kubectl string) error {
	manifest, err := render("addons.yaml", map[string]any{
		"Provisioner": storage.Name, "DNSService": dnsService, "DNSAddress": dnsAddress,
	})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, kubectl, "--kubeconfig", l.Kubeconfig(), "apply", "--server-side", "--validate=false", "-f", "-")
	cmd.Stdin = bytes.NewReader(manifest)
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("create cluster add-ons: %w", err), errors.New(strings.TrimSpace(string(out))))
	}
	return nil
}
