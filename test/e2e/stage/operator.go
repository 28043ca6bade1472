package stage

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
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

// OperatorsOn makes every operator pod run on one node, or wherever the scheduler likes when node is "", and waits for them.
func (s *Stage) OperatorsOn(ctx context.Context, node string) error {
	key := client.ObjectKey{Namespace: SystemNamespace, Name: release}
	var d appsv1.Deployment
	if err := s.Client.Get(ctx, key, &d); err != nil {
		return err
	}
	before := d.DeepCopy()
	d.Spec.Template.Spec.NodeSelector = nil
	if node != "" {
		d.Spec.Template.Spec.NodeSelector = map[string]string{corev1.LabelHostname: node}
	}
	if err := s.Client.Patch(ctx, &d, client.MergeFrom(before)); err != nil {
		return err
	}
	return s.OperatorsReady(ctx)
}

// OperatorsReady waits until every operator pod is the newest and ready.
func (s *Stage) OperatorsReady(ctx context.Context) error {
	key := client.ObjectKey{Namespace: SystemNamespace, Name: release}
	for {
		var d appsv1.Deployment
		err := s.Client.Get(ctx, key, &d)
		want := int32(1)
		if d.Spec.Replicas != nil {
			want = *d.Spec.Replicas
		}
		st := d.Status
		if err == nil && st.ObservedGeneration >= d.Generation && st.UpdatedReplicas == want && st.AvailableReplicas == want && st.Replicas == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the operators: %w: %d of %d are new, %d available (%v)", context.Cause(ctx), st.UpdatedReplicas, want, st.AvailableReplicas, err)
		case <-time.After(pollPeriod):
		}
	}
}
