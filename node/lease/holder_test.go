package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/replication"
)

// server is one Lease behind an API server that maintains resourceVersions, is slow, and can be cut off.
type server struct {
	t     *testing.T
	takes time.Duration // one request, there and back

	mu      sync.Mutex
	lease   *coordinationv1.Lease
	version int
	cut     bool        // requests hang until their context ends
	lost    bool        // requests are carried out, but the answers are lost
	renewed []time.Time // when each renewal was applied
}

func newServer(t *testing.T, holder string, epoch replication.Epoch) *server {
	s := &server{t: t, takes: 10 * time.Millisecond}
	s.lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "orders", Annotations: map[string]string{}}}
	s.write(func(l *coordinationv1.Lease) {
		l.Spec.HolderIdentity = &holder
		l.Annotations[RecordAnnotation] = fmt.Sprintf(`{"epoch":%d,"phase":"Stable"}`, epoch)
	})
	return s
}

// write is a write by the operator: it changes the object under a new version.
func (s *server) write(f func(*coordinationv1.Lease)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change(f)
}

func (s *server) change(f func(*coordinationv1.Lease)) {
	s.version++
	s.lease = s.lease.DeepCopy()
	s.lease.ResourceVersion = strconv.Itoa(s.version)
	f(s.lease)
}

func (s *server) fail(cut, lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut, s.lost = cut, lost
}

func (s *server) renewals() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renewed
}

func (s *server) now() *coordinationv1.Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lease
}

func (s *server) request(ctx context.Context, do func() (*coordinationv1.Lease, error)) (*coordinationv1.Lease, error) {
	s.mu.Lock()
	cut, lost := s.cut, s.lost
	s.mu.Unlock()
	if cut {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if pause(ctx, s.takes/2, nil); ctx.Err() != nil {
		return nil, ctx.Err()
	}
	s.mu.Lock()
	l, err := do()
	s.mu.Unlock()
	if lost {
		<-ctx.Done()
	} else {
		pause(ctx, s.takes/2, nil)
	}
	return l, errors.Join(err, ctx.Err())
}

func (s *server) Get(ctx context.Context, name string, _ metav1.GetOptions) (*coordinationv1.Lease, error) {
	return s.request(ctx, func() (*coordinationv1.Lease, error) {
		if s.lease == nil {
			return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "leases"}, name)
		}
		return s.lease.DeepCopy(), nil
	})
}

func (s *server) Patch(ctx context.Context, name string, pt types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (*coordinationv1.Lease, error) {
	return s.request(ctx, func() (*coordinationv1.Lease, error) {
		var p struct {
			Metadata struct{ ResourceVersion string }
			Spec     struct{ RenewTime metav1.MicroTime }
		}
		if err := json.Unmarshal(data, &p); err != nil || pt != types.MergePatchType || p.Spec.RenewTime.IsZero() {
			s.t.Errorf("patch %s of type %s: %v", data, pt, err)
		}
		if s.lease == nil || p.Metadata.ResourceVersion != s.lease.ResourceVersion {
			return nil, apierrors.NewConflict(schema.GroupResource{Resource: "leases"}, name, errors.New("changed"))
		}
		if last := s.lease.Spec.RenewTime; last != nil && last.Equal(&p.Spec.RenewTime) {
			s.t.Error("a renewal left renewTime as it was")
		}
		s.change(func(l *coordinationv1.Lease) { l.Spec.RenewTime = &p.Spec.RenewTime })
		s.renewed = append(s.renewed, time.Now())
		return s.lease.DeepCopy(), nil
	})
}

const (
	epoch7   = replication.Epoch(7)
	duration = 6 * time.Second
)

// held is a Holder run by member a in epoch 7 against s, in a bubble with a fake clock.
type held struct {
	*Holder
	mu      sync.Mutex
	failed  []Answer
	deposed replication.Epoch
	ended   chan error
	stop    context.CancelFunc
}

func hold(t *testing.T, s *server, change func(*Options)) *held {
	opt := Options{Client: s, Name: "orders", Self: "a", Probe: func(context.Context) error { return nil }}
	if change != nil {
		change(&opt)
	}
	h := &held{Holder: New(opt), ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	h.stop = cancel
	go func() {
		h.ended <- h.Hold(ctx, epoch7, duration, Callbacks{
			Failed: func(a Answer, _ error) {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.failed = append(h.failed, a)
			},
			Deposed: func(e replication.Epoch) { h.deposed = e }, // read after ended
		})
	}()
	t.Cleanup(cancel)
	return h
}

func (h *held) failures() []Answer {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed
}

func TestHoldRenewsEveryThird(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, "a", epoch7)
		h := hold(t, s, nil)
		if h.Valid(time.Now()) {
			t.Error("valid before the first renewal")
		}
		time.Sleep(time.Minute)
		if n := len(s.renewals()); n < 30 || n > 38 {
			t.Errorf("%d renewals in a minute, want one every 1.6 to 2 s", n)
		}
		for i, at := range s.renewals()[1:] {
			if gap := at.Sub(s.renewals()[i]); gap > duration/3 {
				t.Errorf("gap of %v between renewals", gap)
			}
		}
		if !h.Valid(time.Now()) || len(h.failures()) != 0 {
			t.Errorf("valid %v, failures %v", h.Valid(time.Now()), h.failures())
		}
		h.stop()
		if err := <-h.ended; err != nil {
			t.Errorf("hold ended with %v", err)
		}
		if h.Valid(time.Now()) || !h.Deadline().IsZero() {
			t.Error("valid after the end")
		}
	})
}

// TestValidEndsBeforeAnybodyTakesOver checks the guarantee of K = 0 for cuts at every moment of the cycle: Valid turns
// false at the latest two thirds of the duration after the last renewal was applied, even if answers were lost or late.
func TestValidEndsBeforeAnybodyTakesOver(t *testing.T) {
	for at := time.Duration(0); at < 5*time.Second; at += 137 * time.Millisecond {
		for _, lost := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, "a", epoch7)
				s.takes = 300 * time.Millisecond
				h := hold(t, s, nil)
				time.Sleep(2*time.Second + at)
				s.fail(!lost, lost)
				heldAt, applied := time.Time{}, 0
				for range 1000 {
					time.Sleep(10 * time.Millisecond)
					synctest.Wait()
					if h.Valid(time.Now()) {
						heldAt, applied = time.Now(), len(s.renewals())
					}
				}
				if applied == 0 {
					t.Fatal("never held")
				}
				if past := heldAt.Sub(s.renewals()[applied-1]); past >= duration*2/3 {
					t.Fatalf("cut after %v (answers lost: %v): still valid %v after the renewal", at, lost, past)
				}
				if h.Valid(time.Now()) {
					t.Fatal("valid long after the cut")
				}
			})
		}
	}
}

func TestHoldGoesOnAfterACut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, "a", epoch7)
		h := hold(t, s, nil)
		time.Sleep(3 * time.Second)
		s.fail(true, false)
		time.Sleep(10 * time.Second)
		if h.Valid(time.Now()) || len(h.failures()) == 0 || h.failures()[0] != Unreachable {
			t.Fatalf("valid %v, failures %v", h.Valid(time.Now()), h.failures())
		}
		s.fail(false, false)
		time.Sleep(2 * time.Second)
		if !h.Valid(time.Now()) {
			t.Fatal("not held again")
		}
	})
}

func TestADiskThatHangsCostsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, "a", epoch7)
		var hangs atomic.Bool
		h := hold(t, s, func(o *Options) {
			o.Probe = func(ctx context.Context) error {
				if hangs.Load() {
					<-ctx.Done()
				}
				return ctx.Err()
			}
		})
		time.Sleep(3 * time.Second)
		hangs.Store(true)
		time.Sleep(10 * time.Millisecond) // a patch whose probe had passed
		before := len(s.renewals())
		time.Sleep(duration)
		if len(s.renewals()) != before {
			t.Errorf("%d renewals without a probe", len(s.renewals())-before)
		}
		if h.Valid(time.Now()) || len(h.failures()) == 0 || h.failures()[0] != DiskFailed {
			t.Errorf("valid %v, failures %v", h.Valid(time.Now()), h.failures())
		}
	})
}

func TestDeposedEndsTheHold(t *testing.T) {
	tests := map[string]func(*coordinationv1.Lease){
		"another leader":       func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = new("b") },
		"a failover has begun": func(*coordinationv1.Lease) {},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, "a", epoch7)
				h := hold(t, s, nil)
				time.Sleep(3 * time.Second)
				s.fail(true, false)
				time.Sleep(10 * time.Second)
				s.write(func(l *coordinationv1.Lease) {
					change(l)
					l.Annotations[RecordAnnotation] = `{"epoch":9}`
				})
				s.fail(false, false)
				if err := <-h.ended; !errors.Is(err, ErrDeposed) || h.deposed != 9 {
					t.Fatalf("ended with %v, deposed by %d", err, h.deposed)
				}
			})
		})
	}
}

// TestTheOperatorsWritesSurvive: the operator writes between any two renewals. None of its writes is lost, and the Lease
// is held all the time.
func TestTheOperatorsWritesSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, "a", epoch7)
		h := hold(t, s, nil)
		time.Sleep(time.Second)
		for i := range 50 {
			time.Sleep(731 * time.Millisecond)
			synctest.Wait()
			if got := s.now().Annotations["version"]; i > 0 && got != strconv.Itoa(i-1) {
				t.Fatalf("annotation %q, want %d", got, i-1)
			}
			s.write(func(l *coordinationv1.Lease) { l.Annotations["version"] = strconv.Itoa(i) })
			if !h.Valid(time.Now()) {
				t.Fatalf("not valid after write %d: %v", i, h.failures())
			}
		}
		if len(h.failures()) != 0 || *s.now().Spec.HolderIdentity != "a" {
			t.Fatalf("failures %v, holder %q", h.failures(), *s.now().Spec.HolderIdentity)
		}
	})
}

func TestNothingIsWrittenThatIsNotOurs(t *testing.T) {
	tests := map[string]struct {
		change func(*server)
		want   Answer
	}{
		"record lost": {func(s *server) { s.write(func(l *coordinationv1.Lease) { l.Annotations = nil }) }, Unrecorded},
		"older copy": {func(s *server) {
			s.write(func(l *coordinationv1.Lease) { l.Annotations[RecordAnnotation] = `{"epoch":3}` })
		}, Unrecorded},
		"other holder":  {func(s *server) { s.write(func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = new("b") }) }, OtherHolder},
		"Lease deleted": {func(s *server) { s.mu.Lock(); s.lease = nil; s.mu.Unlock() }, Missing},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, "a", epoch7)
				h := hold(t, s, nil)
				time.Sleep(3 * time.Second)
				tc.change(s)
				before := len(s.renewals())
				time.Sleep(duration)
				if len(s.renewals()) != before || h.Valid(time.Now()) {
					t.Errorf("%d renewals, valid %v", len(s.renewals())-before, h.Valid(time.Now()))
				}
				if len(h.failures()) == 0 || h.failures()[0] != tc.want {
					t.Errorf("failures %v, want %v", h.failures(), tc.want)
				}
			})
		})
	}
}

func TestTheShorterDurationBindsTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, "a", epoch7)
		s.write(func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = new(int32(3)) })
		h := hold(t, s, nil) // for 6 s
		time.Sleep(100 * time.Millisecond)
		if left := time.Until(h.Deadline()); left > 2*time.Second {
			t.Fatalf("valid for %v under a Lease of 3 s", left)
		}
		h.SetDuration(3 * time.Second)
		time.Sleep(10 * time.Second)
		before := len(s.renewals())
		time.Sleep(30 * time.Second)
		if n := len(s.renewals()) - before; n < 30 {
			t.Fatalf("%d renewals in 30 s of a Lease of 3 s", n)
		}
	})
}

// Renew times are calendar times. How long the Lease is held does not depend on the calendar, whatever it does.
func TestTheCalendarIsNoClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, "a", epoch7)
		h := hold(t, s, func(o *Options) { o.Wall = func() time.Time { return time.Now().Add(time.Hour) } })
		time.Sleep(time.Second)
		if ahead := time.Until(s.now().Spec.RenewTime.Time); ahead < 59*time.Minute {
			t.Errorf("renewed with a time %v ahead", ahead)
		}
		if held := time.Until(h.Deadline()); held <= 0 || held > duration {
			t.Errorf("held for %v", held)
		}
		h.stop()
		if err := <-h.ended; err != nil {
			t.Error(err)
		}
	})
}
