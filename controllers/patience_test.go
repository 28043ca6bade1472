package controllers

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// hanging is a cluster whose webhooks take their time with some kinds.
type hanging struct {
	*cluster
	takes map[string]time.Duration // by kind; 0: none
	told  int                      // how often status was written
}

func (h *hanging) judge(ctx context.Context, kind string) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(h.takes[kind]):
		return nil
	}
}

func (h *hanging) Apply(ctx context.Context, ac runtime.ApplyConfiguration, o ...client.ApplyOption) error {
	of, _, err := identify(ac)
	if err == nil {
		err = h.judge(ctx, of.Kind)
	}
	if err != nil {
		return err
	}
	return h.cluster.Apply(ctx, ac, o...)
}

func (h *hanging) Patch(ctx context.Context, _ client.Object, _ client.Patch, _ ...client.PatchOption) error {
	return h.judge(ctx, "Pod")
}

func (h *hanging) Delete(ctx context.Context, _ client.Object, _ ...client.DeleteOption) error {
	return h.judge(ctx, "Pod")
}

func (h *hanging) Status() client.SubResourceWriter {
	return hangingStatus{clusterStatus{c: h.cluster}, h}
}

type hangingStatus struct {
	clusterStatus
	h *hanging
}

func (s hangingStatus) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.h.told++
	return s.clusterStatus.Patch(ctx, o, p, opts...)
}

func newHanging(t *testing.T, takes map[string]time.Duration) (*scene, *hanging) {
	s := newScene(t)
	h := &hanging{cluster: s.whole(), takes: takes}
	s.Client, s.Reader = h, h
	s.applies = make(chan struct{}, maxApplies)
	return s, h
}

// timed makes a pass, which may take at most that long.
func (s *scene) timed(t *testing.T, most time.Duration) error {
	t.Helper()
	began := time.Now()
	_, err := s.pass(t)
	if took := time.Since(began); took > most {
		t.Errorf("the pass took %v: %v", took, err)
	}
	return err
}

// A hanging webhook takes a few seconds of a pass, now and then: what was decided is published, and everything else goes on.
func TestAHungWebhook(t *testing.T) {
	for kind, without := range map[string]string{"Pod": "PodDisruptionBudget/orders-nodes", "PersistentVolumeClaim": "Service/orders-r", "Service": "Pod/orders-3"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, h := newHanging(t, map[string]time.Duration{kind: time.Hour})
				s.lose("orders-3")
				if err := s.timed(t, writePatience); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the pass ends with %v", err)
				}
				if h.told != 1 || len(h.store.Status.Members) != 3 || len(s.applies) != 0 {
					t.Errorf("status written %d times, %+v; %d turns kept", h.told, h.store.Status.Members, len(s.applies))
				}
				if told := s.told(); !strings.Contains(told, v1alpha1.ReasonApplyFailed) || strings.Count(told, "deadline exceeded") != 1 {
					t.Errorf("told: %s", told)
				}
				if err := s.timed(t, 0); err == nil || !slices.Contains(h.made, without) || strings.Contains(s.told(), v1alpha1.ReasonApplyFailed) {
					t.Errorf("the next pass ends with %v; made %v", err, h.made)
				}
				h.takes = nil
				time.Sleep(firstRest)
				if err := s.timed(t, 0); err != nil || !slices.Contains(h.made, "Pod/orders-3") || !slices.Contains(h.made, "Service/orders-rw") {
					t.Errorf("once it has ended: %v; made %v", err, h.made)
				}
			})
		})
	}
}

// After ten seconds the API server goes on without a webhook that is not required; a kind that was late before gets that
// long.
func TestAWebhookThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := newHanging(t, map[string]time.Duration{"Pod": 10 * time.Second})
		s.lose("orders-3")
		began := time.Now()
		for !slices.Contains(h.made, "Pod/orders-3") && time.Since(began) < time.Minute {
			_ = s.timed(t, longPatience)
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took > 40*time.Second {
			t.Errorf("made after %v: %v", took, h.made)
		}
	})
}

// A pass that waits in vain for other stores' children ends in time too, and blames no kind for it.
func TestTurnsThatOthersKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := newHanging(t, nil)
		s.lose("orders-3")
		for range maxApplies {
			s.applies <- struct{}{}
		}
		if err := s.timed(t, writePatience); !errors.Is(err, context.DeadlineExceeded) || h.told != 1 || len(s.memory.lates) > 0 {
			t.Errorf("%v; status written %d times; late: %v", err, h.told, s.memory.lates)
		}
		for range maxApplies {
			<-s.applies
		}
		if err := s.timed(t, 0); err != nil || !slices.Contains(h.made, "Pod/orders-3") {
			t.Errorf("%v; made %v", err, h.made)
		}
	})
}

// Setting or removing a pod's label does not use up the pass either.
func TestAHungPatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := newHanging(t, map[string]time.Duration{"Pod": time.Hour})
		s.cache.pods[2].Labels[v1alpha1.LabelRole] = ""
		if err := s.timed(t, longPatience); !errors.Is(err, context.DeadlineExceeded) || h.told != 1 {
			t.Errorf("%v; status written %d times", err, h.told)
		}
		p := &pass{Reconciler: s.Reconciler, memory: s.memory, store: s.store}
		began := time.Now()
		if err := p.do(t.Context(), decide.DeletePod{Name: "orders-3", UID: "orders-3"}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > longPatience {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// What hangs again and again is retried less and less often.
func TestLatenessRests(t *testing.T) {
	at := time.Now()
	for times, rest := range map[int]time.Duration{0: 0, 1: firstRest, 2: 2 * firstRest, 4: 8 * firstRest, 5: lastRest, 1000: lastRest} {
		l := lateness{times: times, at: at}
		if l.rests(at.Add(rest)) || rest > 0 && !l.rests(at.Add(rest-1)) {
			t.Errorf("late %d times in a row: not a rest of %v", times, rest)
		}
	}
}
