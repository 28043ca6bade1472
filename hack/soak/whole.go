package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// steady is how long everything must look whole before it counts as whole: conditions lag behind what they describe.
const steady = 3 * time.Second

// errLagging means that a store is whole except for a follower that is behind right now, as can happen on a busy machine.
var errLagging = errors.New("a follower is behind")

// whole waits until both stores, all machines and both operators are ready, and writes are acknowledged, all of this for a while
// under the same epochs. Meanwhile a follower may be behind for a moment, but not at the end. On a timeout, it saves what is known
// in the evidence.
func (s *soak) whole(ctx context.Context, after time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, s.within)
	defer cancel()
	var since time.Time // zero: not whole
	var epochs [stores]int64
	for {
		now, err := s.look(ctx)
		if err == nil {
			err = s.flows(ctx, after)
		}
		switch {
		case errors.Is(err, errLagging) && now == epochs: // it may still become steady, but is not yet
		case err != nil:
			since = time.Time{}
		case since.IsZero() || now != epochs:
			since, epochs = time.Now(), now
		case time.Since(since) >= steady:
			return nil
		}
		if ledger.Sleep(ctx, 300*time.Millisecond); ctx.Err() != nil {
			s.tell.diagnose(context.WithoutCancel(ctx), s.stores[:])
			return fmt.Errorf("not whole within %v: %w", s.within, err)
		}
	}
}

// look returns the stores' epochs, and an error if something is not whole.
func (s *soak) look(ctx context.Context) (epochs [stores]int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var lagging error
	for n, store := range s.stores {
		rs, err := store.Get(ctx)
		if err != nil {
			return epochs, fmt.Errorf("store %s: %w", store.Name, err)
		}
		epochs[n] = rs.Status.Epoch
		switch err := stage.Ready(rs); {
		case err != nil && onlyLags(rs):
			lagging = fmt.Errorf("store %s: %w: %w", store.Name, errLagging, err)
		case err != nil:
			return epochs, fmt.Errorf("store %s: %w", store.Name, err)
		}
	}
	return epochs, cmp.Or(s.lookAround(ctx), lagging)
}

// onlyLags reports whether a follower that is behind is the only thing that keeps a store from being Ready.
func onlyLags(rs *v1alpha1.ReplicatedStore) bool {
	degraded := meta.FindStatusCondition(rs.Status.Conditions, v1alpha1.ConditionDegraded)
	return meta.IsStatusConditionTrue(rs.Status.Conditions, v1alpha1.ConditionAvailable) &&
		meta.IsStatusConditionFalse(rs.Status.Conditions, v1alpha1.ConditionProgressing) &&
		degraded != nil && degraded.Reason == v1alpha1.ReasonMemberLagging
}

// lookAround returns an error that names a machine or operator that is not as it should be.
func (s *soak) lookAround(ctx context.Context) error {
	var nodes corev1.NodeList
	if err := s.stage.Client.List(ctx, &nodes); err != nil {
		return err
	}
	for _, node := range nodes.Items {
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
				return fmt.Errorf("node %s: %s", node.Name, c.Message)
			}
		}
	}
	var deployments appsv1.DeploymentList
	if err := s.stage.Client.List(ctx, &deployments, client.InNamespace(stage.SystemNamespace)); err != nil {
		return err
	}
	for _, d := range deployments.Items {
		if d.Status.ReadyReplicas < operators {
			return fmt.Errorf("%d of %d operators are ready", d.Status.ReadyReplicas, operators)
		}
	}
	return nil
}
