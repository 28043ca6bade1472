package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	testingclock "k8s.io/utils/clock/testing"
)

// A pod that a kubelet refused has no container that could say why.
func TestWhyAPodFailedIsTold(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "orders-3"}}
	pod.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfcpu", Message: "Node didn't have enough resource: cpu"}
	if got := troubleOf(pod); got != "OutOfcpu: Node didn't have enough resource: cpu" {
		t.Errorf("told: %q", got)
	}
}

// A member that cannot be made, perhaps for days, is retried with growing pauses, and at once from another spec.
func TestAMemberThatCannotBeMadeIsTriedWithPauses(t *testing.T) {
	s := newScene(t)
	c := s.whole()
	clock := testingclock.NewFakePassiveClock(time.Now())
	s.Clock = clock
	asked, refuses := 0, true
	c.refuse = func(of child, _ runtime.ApplyConfiguration) error {
		if of.key() != "Pod/orders-3" {
			return nil
		}
		if asked++; refuses {
			return forbidden(of, "exceeded quota: few")
		}
		return nil
	}
	s.lose("orders-3")
	passes := func(n int) int {
		t.Helper()
		before := asked
		for range n {
			if _, err := s.pass(t); err == nil && refuses {
				t.Fatal("a pass in which a member cannot be made is not repeated")
			}
			clock.SetTime(clock.Now().Add(time.Second))
		}
		return asked - before
	}
	if n := passes(10); n < 2 || n > 8 {
		t.Errorf("tried %d times in 10 s", n)
	}
	if n := passes(300); n < 10 || n > 14 {
		t.Errorf("tried %d times in 5 min", n)
	}
	c.store.Generation++
	c.store.Spec.Scheduling.PriorityClassName = "other"
	if n := passes(1); n != 1 {
		t.Errorf("another spec: tried %d times", n)
	}
	refuses = false
	if n := passes(40); n == 0 {
		t.Error("never tried again")
	}
}
