package stage

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// KillOperators kills every operator pod at once, without grace.
func (s *Stage) KillOperators(ctx context.Context) error {
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, client.InNamespace(SystemNamespace)); err != nil {
		return err
	}
	if len(pods.Items) == 0 {
		return errors.New("there is no operator to kill")
	}
	for i := range pods.Items {
		if err := s.Client.Delete(ctx, &pods.Items[i], client.GracePeriodSeconds(0)); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}
