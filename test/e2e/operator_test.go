//go:build e2e

package e2e

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

// killOperator kills every operator pod at once, without grace.
func killOperator(ctx context.Context) error {
	var pods corev1.PodList
	if err := world.Client.List(ctx, &pods, client.InNamespace(stage.SystemNamespace)); err != nil {
		return err
	}
	if len(pods.Items) == 0 {
		return errors.New("there is no operator to kill")
	}
	for i := range pods.Items {
		if err := world.Client.Delete(ctx, &pods.Items[i], client.GracePeriodSeconds(0)); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}
