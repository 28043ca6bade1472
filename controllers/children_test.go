package controllers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	policyv1ac "k8s.io/client-go/applyconfigurations/policy/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// slowServer counts what is applied at once, and answers when it is let.
type slowServer struct {
	client.Client
	now, most atomic.Int32
	full      chan struct{} // gets one when maxApplies are under way
	answer    chan struct{}
}

func (s *slowServer) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	n := s.now.Add(1)
	defer s.now.Add(-1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	if n == maxApplies {
		select {
		case s.full <- struct{}{}:
		default:
		}
	}
	<-s.answer
	return nil
}

// However many stores are reconciled at once, the API server gets so many of their children at once and no more. (`make bench-operator`
// with 64 at once, on a busy machine: a hundred stores that were made together cost the operator its election.)
func TestChildrenOfManyStoresTakeTurns(t *testing.T) {
	s := &slowServer{full: make(chan struct{}, 1), answer: make(chan struct{})}
	r := &Reconciler{Client: s, Clock: clock.RealClock{}, applies: make(chan struct{}, maxApplies)}
	apply := func(ctx context.Context) error {
		p := &pass{Reconciler: r, memory: newMemory()}
		ac := corev1ac.ServiceAccount("orders", "shop")
		c, hash, err := identify(ac)
		if err != nil {
			return err
		}
		return p.apply(ctx, c, hash, ac)
	}
	var all sync.WaitGroup
	for range 4 * maxApplies {
		all.Go(func() {
			if err := apply(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	<-s.full
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := apply(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("a pass whose time is over: %v", err)
	}
	close(s.answer)
	all.Wait()
	if most := s.most.Load(); most != maxApplies {
		t.Errorf("%d at once", most)
	}
}

// A store of three that had four, and has them yet: the budget goes by those that are there.
func TestTheBudgetGoesByThePodsThatThereAre(t *testing.T) {
	s, h := newHanging(t, nil)
	s.cache.pods = append(s.cache.pods, s.podOf(4))
	var stay []int32
	h.refuse = func(_ child, ac runtime.ApplyConfiguration) error {
		if budget, ok := ac.(*policyv1ac.PodDisruptionBudgetApplyConfiguration); ok {
			stay = append(stay, budget.Spec.MinAvailable.IntVal)
		}
		return nil
	}
	_, _ = s.pass(t)
	s.lose("orders-4")
	_, _ = s.pass(t)
	if !slices.Equal(stay, []int32{3, 2}) {
		t.Errorf("of four pods and then three, %v must stay", stay)
	}
}
