package stage

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// stageLabel marks the namespaces that a Stage creates. Its value is their prefix.
const stageLabel = "replicatedstore.io/stage"

// Namespace creates a namespace with a free name that begins with prefix.
func (s *Stage) Namespace(ctx context.Context, prefix string) (string, error) {
	for n := 1; ; n++ {
		name := prefix
		if n > 1 {
			name += "-" + strconv.Itoa(n)
		}
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{stageLabel: prefix}}}
		if err := s.Client.Create(ctx, ns); !apierrors.IsAlreadyExists(err) {
			return name, err
		}
	}
}

// Forget deletes the namespaces whose prefix begins with prefix, with their stores and data, and returns their names. It does not
// wait for the deletions, and touches no namespace that a Stage did not create.
func (s *Stage) Forget(ctx context.Context, prefix string) ([]string, error) {
	var all corev1.NamespaceList
	if err := s.Client.List(ctx, &all, client.HasLabels{stageLabel}); err != nil {
		return nil, fmt.Errorf("look for earlier runs: %w", err)
	}
	var gone []string
	for _, ns := range all.Items {
		if ns.DeletionTimestamp != nil || !strings.HasPrefix(ns.Labels[stageLabel], prefix) {
			continue
		}
		if err := s.Client.Delete(ctx, &ns); client.IgnoreNotFound(err) != nil {
			return gone, fmt.Errorf("remove an earlier run: %w", err)
		}
		gone = append(gone, ns.Name)
	}
	return gone, nil
}

// ForgetNamespace deletes one namespace with everything in it. It does not wait for the deletion.
func (s *Stage) ForgetNamespace(ctx context.Context, name string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	return client.IgnoreNotFound(s.Client.Delete(ctx, ns))
}
