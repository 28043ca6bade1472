package lease

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/replication"
)

// Client is what a Holder needs of the Leases of one namespace. client-go's LeaseInterface implements it.
type Client interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (*coordinationv1.Lease, error)
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (*coordinationv1.Lease, error)
}

// Options of a Holder. Client, Name, Self and Probe are required.
type Options struct {
	Client Client
	Name   string // of the Lease
	Self   string // this member: the holder identity that the operator writes
	// Probe returns nil if the data directory takes a durable write. It must return soon after its context ends, even if
	// the disk hangs. A leader whose disk hangs must lose the Lease, so there is no renewal without a successful Probe.
	Probe func(ctx context.Context) error
	Log   logr.Logger
	// Now is the clock; deadlines rest on its monotonic reading. Nil means the machine's.
	Now func() time.Time
	// Wall is the wall clock for renew times; nothing is ordered by them. Nil means Now.
	Wall func() time.Time
}

// Callbacks tell the member what becomes of its Lease. They run on Hold's goroutine and must not block. Each may be nil.
type Callbacks struct {
	// Renewed is called after a renewal: Valid is true until then, unless the Lease is renewed again.
	Renewed func(until time.Time)
	// Failed is called when one try did not renew the Lease; the next follows soon.
	Failed func(Answer, error)
	// Deposed is called when the record names a higher epoch. Hold ends.
	Deposed func(replication.Epoch)
}

// ErrDeposed is returned by Hold when the record names a higher epoch.
var ErrDeposed = errors.New("the record names a higher epoch")

// Fractions of the Lease's duration d. They give every stretch of d/3 at least three tries before Valid turns false.
const (
	periodPart  = 3  // renew every d/3, minus up to a fifth of that as jitter
	timeoutPart = 6  // one try, including the probe, takes at most d/6
	retryPart   = 20 // the next try begins d/20 after a failed one
	conflicts   = 4  // how often one try reads a changed object
)

// Holder renews one Lease. Hold runs on one goroutine at a time; the other methods are safe for concurrent use.
type Holder struct {
	opt      Options
	duration atomic.Int64            // nanoseconds, as asked for by Hold or SetDuration
	changed  chan struct{}           // receives when duration has changed
	renewed  atomic.Pointer[renewal] // the newest successful one; nil: not held
	seen     *coordinationv1.Lease   // Hold's goroutine only: the newest version known to be ours
}

// renewal is a successful renewal.
type renewal struct {
	sent  time.Time     // just before its request
	under time.Duration // the shorter of the ordered duration and the one in the object, which the operator goes by
}

// New returns a Holder that holds nothing yet.
func New(opt Options) *Holder {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Wall == nil {
		opt.Wall = opt.Now
	}
	return &Holder{opt: opt, changed: make(chan struct{}, 1)}
}

// Valid reports whether the Lease is held at now: less than two thirds of its duration have passed since the last
// successful renewal's request was sent.
//
// Guarantee (what K = 0 rests on): nobody takes over while Valid is true. The API server applied the renewal after its
// request was sent, and the operator waits a whole duration after it saw the renewal applied. The remaining third covers
// clocks that run at different rates. now must carry a monotonic reading.
func (h *Holder) Valid(now time.Time) bool {
	return now.Before(h.Deadline())
}

// Deadline returns when Valid turns false; the zero time if the Lease is not held. If the duration was shortened since
// the last renewal, that renewal, too, counts for the shorter duration only: the operator goes by the shorter one from
// before it orders it, whether or not another renewal succeeds.
func (h *Holder) Deadline() time.Time {
	r := h.renewed.Load()
	if r == nil {
		return time.Time{}
	}
	return r.sent.Add(min(r.under, time.Duration(h.duration.Load())) / 3 * 2)
}

// SetDuration changes the duration, also for the current renewal if it is shorter. It triggers a renewal at once, because
// under a shorter duration the next one would come late.
func (h *Holder) SetDuration(d time.Duration) {
	if h.duration.Swap(int64(d)) == int64(d) {
		return
	}
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// Hold renews the Lease until ctx ends (nil) or the record names a higher epoch (ErrDeposed). After it returns, Valid is
// false.
func (h *Holder) Hold(ctx context.Context, epoch replication.Epoch, duration time.Duration, cb Callbacks) error {
	if duration <= 0 {
		return fmt.Errorf("hold the Lease %s: duration %v", h.opt.Name, duration)
	}
	h.duration.Store(int64(duration))
	h.seen = nil
	defer h.renewed.Store(nil)
	log := h.opt.Log.WithValues("lease", h.opt.Name, "epoch", epoch)
	for ctx.Err() == nil {
		begun, d := h.opt.Now(), time.Duration(h.duration.Load())
		wait := d / retryPart
		switch r, v := h.try(ctx, epoch, d); {
		case ctx.Err() != nil:
		case v.answer == Ours:
			h.renewed.Store(&r)
			if cb.Renewed != nil {
				cb.Renewed(h.Deadline())
			}
			period := d / periodPart
			wait = period - time.Duration(rand.Float64()*float64(period)/5) - h.opt.Now().Sub(begun)
		case v.answer == Deposed:
			log.Info("deposed", "reason", v.answer.String(), "recorded", v.epoch)
			if cb.Deposed != nil {
				cb.Deposed(v.epoch)
			}
			return ErrDeposed
		default:
			if c, ok := h.opt.Client.(interface{ CloseIdle() }); ok && v.answer == Unreachable {
				c.CloseIdle()
			}
			log.Info("the Lease was not renewed", "reason", v.answer.String(), "error", v.err)
			if cb.Failed != nil {
				cb.Failed(v.answer, v.err)
			}
		}
		pause(ctx, wait, h.changed)
	}
	return nil
}

// try renews once: probe, read if needed, patch. r is valid only if the answer is Ours.
func (h *Holder) try(ctx context.Context, epoch replication.Epoch, d time.Duration) (r renewal, v verdict) {
	ctx, cancel := context.WithTimeout(ctx, d/timeoutPart)
	defer cancel()
	if err := h.opt.Probe(ctx); err != nil {
		return r, verdict{answer: DiskFailed, err: fmt.Errorf("probe the disk: %w", err)}
	}
	for range conflicts {
		if h.seen == nil {
			l, err := h.opt.Client.Get(ctx, h.opt.Name, metav1.GetOptions{})
			if v = classify(h.opt.Self, epoch, l, err); v.answer != Ours {
				return r, v
			}
			h.seen = l
		}
		sent := h.opt.Now() // before the request: the server cannot have applied it earlier
		l, err := h.patch(ctx)
		switch v = classify(h.opt.Self, epoch, l, err); v.answer {
		case Ours:
			h.seen = l
			return renewal{sent, shorter(d, l)}, v
		case Conflict:
			h.seen = nil
		default:
			h.seen = nil // the patch may have been applied anyway
			return r, v
		}
	}
	return r, v
}

// shorter returns the shorter of the ordered duration and the one in the object.
func shorter(d time.Duration, l *coordinationv1.Lease) time.Duration {
	if s := l.Spec.LeaseDurationSeconds; s != nil && *s > 0 {
		d = min(d, time.Duration(*s)*time.Second)
	}
	return d
}

// patch writes a renewTime that differs from the last one, if the object is still the one seen.
func (h *Holder) patch(ctx context.Context) (*coordinationv1.Lease, error) {
	at := metav1.NewMicroTime(h.opt.Wall().Round(0).Truncate(time.Microsecond))
	if last := h.seen.Spec.RenewTime; last != nil && last.Time.Equal(at.Time) {
		at.Time = at.Add(time.Microsecond)
	}
	body := fmt.Appendf(nil, `{"metadata":{"resourceVersion":%q},"spec":{"renewTime":%q}}`,
		h.seen.ResourceVersion, at.UTC().Format(metav1.RFC3339Micro))
	return h.opt.Client.Patch(ctx, h.opt.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: fieldManager})
}

const fieldManager = "replicatedstore-node"

// pause waits until d has passed, ctx ends, or wake receives.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
}
