package stage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// KillOperators kills all operator pods at once, with no grace period.
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

// Operators returns the operator pod that was elected, and those on standby.
func (s *Stage) Operators(ctx context.Context) (acting *corev1.Pod, others []*corev1.Pod, err error) {
	var lease coordinationv1.Lease
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: SystemNamespace, Name: release}, &lease); err != nil {
		return nil, nil, err
	}
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, client.InNamespace(SystemNamespace)); err != nil {
		return nil, nil, err
	}
	holder, _, _ := strings.Cut(ptr.Deref(lease.Spec.HolderIdentity, ""), "_")
	for i := range pods.Items {
		switch p := &pods.Items[i]; {
		case p.Status.Phase != corev1.PodRunning || p.DeletionTimestamp != nil:
		case p.Name == holder:
			acting = p
		default:
			others = append(others, p)
		}
	}
	if acting == nil {
		return nil, nil, fmt.Errorf("the operators' Lease is held by %q, which does not run", holder)
	}
	return acting, others, nil
}

// OperatorsOn makes every operator pod run on one node, by temporarily keeping new pods off the others, and waits until they do.
// If node is "", the scheduler places them, which spreads them.
func (s *Stage) OperatorsOn(ctx context.Context, node string) error {
	if node != "" {
		if err := s.cordon(ctx, func(name string) bool { return name != node }); err != nil {
			return err
		}
	}
	err := s.KillOperators(ctx)
	if err == nil {
		err = s.OperatorsReady(ctx)
	}
	return errors.Join(err, s.Uncordon(ctx))
}

// Cordon keeps new pods off a node.
func (s *Stage) Cordon(ctx context.Context, node string) error {
	return s.cordon(ctx, func(name string) bool { return name == node })
}

// Uncordon lets new pods run on every node.
func (s *Stage) Uncordon(ctx context.Context) error {
	return s.cordon(ctx, func(string) bool { return false })
}

func (s *Stage) cordon(ctx context.Context, off func(node string) bool) error {
	var nodes corev1.NodeList
	if err := s.Client.List(ctx, &nodes); err != nil {
		return err
	}
	for _, n := range nodes.Items {
		if before := n.DeepCopy(); n.Spec.Unschedulable != off(n.Name) {
			n.Spec.Unschedulable = off(n.Name)
			if err := s.Client.Patch(ctx, &n, client.MergeFrom(before)); err != nil {
				return err
			}
		}
	}
	return nil
}

// OperatorsReady waits until as many operator pods are ready as the Deployment asks for.
func (s *Stage) OperatorsReady(ctx context.Context) error {
	var said error
	for {
		if said = s.operatorsReady(ctx); said == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the operators: %w: %w", context.Cause(ctx), said)
		case <-time.After(pollPeriod):
		}
	}
}

func (s *Stage) operatorsReady(ctx context.Context) error {
	var d appsv1.Deployment
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: SystemNamespace, Name: release}, &d); err != nil {
		return err
	}
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, client.InNamespace(SystemNamespace)); err != nil {
		return err
	}
	ready, want := 0, int(ptr.Deref(d.Spec.Replicas, 1))
	for _, p := range pods.Items {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil {
				ready++
			}
		}
	}
	if ready != want || len(pods.Items) != want {
		return fmt.Errorf("%d pods, %d ready, %d asked for", len(pods.Items), ready, want)
	}
	return nil
}
