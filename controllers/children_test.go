package controllers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	policyv1ac "k8s.io/client-go/applyconfigurations/policy/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// slowServer counts concurrent applies, and answers when it is released.
type slowServer struct {
	client.Client
	now, most atomic.Int32
	full      chan struct{} // receives once maxApplies are in flight
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

// However many stores are reconciled concurrently, the API server gets at most maxApplies of their children at a time. (In
// `make bench-operator` with 64 concurrent reconciles on a busy machine, a hundred stores created together cost the operator
// its election.)
func TestChildrenOfManyStoresTakeTurns(t *testing.T) { synctest.Test(t, testTurns) }

func testTurns(t *testing.T) {
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

// A store of three that had four members, and still has their pods: the budget counts the pods that exist, but not a
// departing one that no longer votes. Of three members, a departing one does count.
func TestTheBudgetGoesByThePodsThatThereAre(t *testing.T) {
	for name, tc := range map[string]struct {
		pods  int
		going string
		want  []int32
	}{
		"one of four goes":                {4, "", []int32{3, 2}},
		"the fourth is on its way out":    {4, "orders-4", []int32{2}},
		"a voter of four is on its way":   {4, "orders-3", []int32{3, 2}},
		"one of three is on its way back": {3, "orders-3", []int32{2}},
	} {
		t.Run(name, func(t *testing.T) { budgetGoesBy(t, tc.pods, tc.going, tc.want) })
	}
}

func budgetGoesBy(t *testing.T, pods int, going string, want []int32) {
	s, h := newHanging(t, nil)
	if pods == 4 {
		s.cache.pods = append(s.cache.pods, s.podOf(4))
	}
	for i := range s.cache.pods {
		if s.cache.pods[i].Name == going {
			s.cache.pods[i].DeletionTimestamp = new(metav1.Now())
		}
	}
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
	if !slices.Equal(stay, want) {
		t.Errorf("of the pods and then without the fourth, %v must stay, want %v", stay, want)
	}
}
