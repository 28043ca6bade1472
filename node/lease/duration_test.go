package lease

import (
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// TestAnotherDurationIsTakenUpAtOnce: a long Lease is renewed seldom, and an observer goes by the shorter duration as
// soon as it is written.
func TestAnotherDurationIsTakenUpAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, "a", epoch7)
		h := hold(t, s, nil)
		time.Sleep(time.Second)
		h.SetDuration(time.Minute)
		time.Sleep(30 * time.Second)
		before := len(s.renewals())
		s.write(func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = new(int32(6)) })
		h.SetDuration(duration)
		time.Sleep(100 * time.Millisecond)
		if len(s.renewals()) != before+1 || time.Until(h.Deadline()) > duration*2/3 {
			t.Fatalf("%d renewals, valid for %v", len(s.renewals())-before, time.Until(h.Deadline()))
		}
		h.SetDuration(duration)
		time.Sleep(time.Second)
		if n := len(s.renewals()) - before; n != 1 {
			t.Fatalf("%d renewals, although the duration is the same", n)
		}
	})
}

// TestAShorterDurationWhileNothingCanBeRenewed: a renewal under a longer duration holds no longer than the shorter one,
// which the operator goes by from then on. A longer duration does not extend a renewal under a shorter one.
func TestAShorterDurationWhileNothingCanBeRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, "a", epoch7)
		s.write(func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = new(int32(60)) })
		h := hold(t, s, nil)
		time.Sleep(time.Second)
		h.SetDuration(time.Minute)
		time.Sleep(time.Second)
		if left := time.Until(h.Deadline()); left < 38*time.Second {
			t.Fatalf("held for %v under a Lease of a minute", left)
		}
		s.fail(true, false)
		h.SetDuration(duration)
		if left := time.Until(h.Deadline()); left > duration*2/3 || !h.Valid(time.Now()) {
			t.Fatalf("valid for %v under a Lease of %v", left, duration)
		}
		h.SetDuration(2 * time.Minute)
		if left := time.Until(h.Deadline()); left > 40*time.Second {
			t.Fatalf("valid for %v, renewed under a Lease of a minute", left)
		}
		h.SetDuration(duration)
		time.Sleep(duration)
		if h.Valid(time.Now()) {
			t.Fatalf("%v after the last renewal it is held for %v more", duration+time.Second, time.Until(h.Deadline()))
		}
	})
}
