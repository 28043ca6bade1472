package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/controllers/render"
)

// Keys of this package's log lines.
const (
	keyStore   = "store"
	keyState   = "state"
	keyReason  = "reason"
	keyMessage = "message"
	keyAction  = "action"
	keyEpoch   = "epoch"
	keyMember  = "member"
)

// Bounds of one pass.
const (
	// maxSteps bounds the steps of a pass. A failover takes five; whatever needs more goes on in the next pass.
	maxSteps = 16
	// maxPass bounds the duration of a pass. The longest single step is the hold of a handover.
	maxPass = 30 * time.Second
	// replacedPause is the pause after a write about a pod or claim that has been replaced. The cache may show the old
	// one for seconds.
	replacedPause = 100 * time.Millisecond
)

// Reconciler brings stores to the state that their specs describe.
type Reconciler struct {
	Client client.Client
	// Reader is uncached. An authority record from a cache is never acted on.
	Reader   client.Reader
	Nodes    nodeclient.Client
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	Options  render.Options
	Settings decide.Settings
	// Election says whether this operator is the one that acts; nil means that it is, from the start.
	Election *Election

	watcher  *nodeclient.Watcher
	applies  chan struct{} // holds one element for each child that is being applied; nil: no bound
	memories sync.Map      // types.NamespacedName -> *memory
	ready    atomic.Bool   // passes are being made; see Ready
	over     chan<- error  // an error sent here ends the operator; may be nil
	telling  sync.Mutex    // held by tellActing, only while it sets its metric
}

// Reconcile does one pass: it observes, decides and acts until nothing risky is left to do, and then publishes.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if req == started {
		r.ready.Store(true)
		r.tellActing()
		return ctrl.Result{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, maxPass)
	defer cancel()
	store := &v1alpha1.ReplicatedStore{}
	if err := r.Client.Get(ctx, req.NamespacedName, store); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(req.NamespacedName)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("get store: %w", err)
	}
	p := &pass{Reconciler: r, memory: r.remember(req.NamespacedName), store: store, began: r.Clock.Now()}
	p.resume(r.Election.undisturbed())
	if r.Election.acting() {
		stores.expect(req.NamespacedName, p.began) // however this pass ends
	}
	p.uncached, p.Outdated = p.Outdated, decide.Reads{}
	plan, err := p.run(ctx)
	p.sight.Store(uint32(p.seen.Sight()))
	if perr := p.publish(ctx, plan); perr != nil {
		err = errors.Join(err, perr)
	}
	switch {
	case apierrors.IsConflict(err) && p.Outdated.Members:
		return ctrl.Result{RequeueAfter: replacedPause}, nil
	case apierrors.IsConflict(err):
		// Somebody else wrote first, so the decision no longer follows from the facts. Look again.
		return ctrl.Result{RequeueAfter: time.Millisecond}, nil
	case err != nil:
		return ctrl.Result{}, err
	case plan.Risky():
		return ctrl.Result{RequeueAfter: time.Millisecond}, nil
	default:
		p.within(plan.RequeueAfter)
		return ctrl.Result{RequeueAfter: p.again}, nil
	}
}

// sights counts what the newest pass of each store saw of its leader.
func (r *Reconciler) sights() (s decide.Sights) {
	r.memories.Range(func(_, m any) bool {
		s.Count(decide.Sight(m.(*memory).sight.Load()))
		return true
	})
	return s
}

// pass is one Reconcile of one store.
type pass struct {
	*Reconciler
	*memory
	store   *v1alpha1.ReplicatedStore
	began   time.Time
	answers decide.Pass
	seen    decide.Observed // what the current plan is based on
	// uncached names what is read from the API server itself for the rest of the pass.
	uncached decide.Reads
	// takenUp is the generation of the spec that was applied to the children in this pass; 0 if none was.
	takenUp int64
	// tooLate is the error of the first write about a child that took too long. Nothing more is applied in this pass
	// after it.
	tooLate error
	again   time.Duration // when to look again, see within; 0: not set
}

// within schedules the next look at the store in d, unless an earlier one is scheduled.
func (p *pass) within(d time.Duration) {
	if p.again == 0 || d > 0 && d < p.again {
		p.again = d
	}
}

// run takes steps until a plan holds nothing risky. Children are applied last, and only if nothing more urgent was done
// or failed: a failover does not wait for them.
func (p *pass) run(ctx context.Context) (decide.Plan, error) {
	var plan decide.Plan
	var failed error
	for range maxSteps {
		next, err := p.look(ctx)
		if err != nil {
			p.Facts.Unseen(p.Clock.Now())
			return plan, err
		}
		plan = next
		p.announce(ctx, plan)
		if err := p.tellFirst(ctx, plan); err != nil {
			return plan, err
		}
		if err := p.act(ctx, plan); err != nil {
			p.ActFailed()
			failed = fmt.Errorf("%s: %w", plan.State, err)
		}
		if failed != nil || !plan.Risky() {
			break
		}
	}
	if failed != nil && plan.Risky() && !discards(plan) || plan.State == decide.Deleting || p.store.Paused() || p.seen.Standby {
		return plan, failed
	}
	err := p.applyChildren(ctx)
	if err == nil && plan.Reason != v1alpha1.ReasonApplyFailed { // otherwise members keep pods of an older spec
		p.takenUp = p.store.Generation
	}
	return plan, errors.Join(failed, err)
}

// discards reports whether the plan's risky action deletes a pod or a claim. Other changes of the spec do not wait for that:
// a policy may forbid it for good.
func discards(plan decide.Plan) bool {
	return slices.ContainsFunc(plan.Actions, func(a decide.Action) bool {
		switch a.(type) {
		case decide.DeletePod, decide.DeleteClaim:
			return true
		default:
			return false
		}
	})
}

func (r *Reconciler) remember(key types.NamespacedName) *memory {
	m, _ := r.memories.LoadOrStore(key, newMemory())
	return m.(*memory)
}

func (r *Reconciler) forget(key types.NamespacedName) {
	r.memories.Delete(key)
	r.watcher.Set(key, nil)
	stores.forget(key)
}
