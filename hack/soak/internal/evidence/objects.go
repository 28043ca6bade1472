package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// Objects writes what the API server holds of a namespace: stores.yaml, leases.yaml, pods.yaml, and events.jsonl. It continues
// after an error.
func Objects(ctx context.Context, c client.Client, namespace, dir string) error {
	var errs []error
	for name, list := range map[string]client.ObjectList{
		"stores.yaml": &v1alpha1.ReplicatedStoreList{}, "leases.yaml": &coordinationv1.LeaseList{}, "pods.yaml": &corev1.PodList{},
	} {
		err := c.List(ctx, list, client.InNamespace(namespace))
		var text []byte
		if err == nil {
			text, err = yaml.Marshal(list)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
		errs = append(errs, err)
	}
	errs = append(errs, events(ctx, c, namespace, filepath.Join(dir, "events.jsonl")))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("keep the objects of %s: %w", namespace, err)
	}
	return nil
}

func events(ctx context.Context, c client.Client, namespace, path string) error {
	var list corev1.EventList
	if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return err
	}
	var out bytes.Buffer
	lines := json.NewEncoder(&out)
	for _, e := range list.Items {
		if err := lines.Encode(e); err != nil {
			return err
		}
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}
