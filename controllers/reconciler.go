package controllers

import (
	"context"
	"errors"
	"fmt"
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
	// maxSteps: a failover takes five; what needs more goes on in the next pass.
	maxSteps = 16
	// maxPass bounds a pass in time: the longest single step is a handover's hold.
	maxPass = 30 * time.Second
	// probeAgainAfter: a member that timed out, or refused, is not asked again within a pass before this, so that a dead leader costs
	// a failover one timeout, not one a step. (Who refuses as its machine goes down times out a moment later.)
	probeAgainAfter = 2 * time.Second
	// againTimeout is for how long a silent member is asked that timed out the last time: whether it is back shows fast, and a lost
	// leader is judged by how long nothing was heard of it, not by how patiently it was asked.
	againTimeout = 250 * time.Millisecond
	// replacedPause comes after a write about a pod or a claim that has been replaced: the cache may show the old one for seconds.
	replacedPause = 100 * time.Millisecond
)

// Reconciler brings stores to what their spec says.
type Reconciler struct {
	Client client.Client
	// Reader is uncached: what is acted on is never an authority record from a cache.
	Reader   client.Reader
	Nodes    nodeclient.Client
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	Options  render.Options
	Settings decide.Settings
	// Election tells whether this operator is the one that acts; nil: it is, from the start.
	Election *Election

	watcher  *nodeclient.Watcher
	applies  chan struct{} // one for each child that is being applied; nil: no bound
	memories sync.Map      // types.NamespacedName -> *memory
	ready    atomic.Bool   // passes are made; see Ready
	over     chan<- error  // what ends the operator; nil: nothing does
	telling  sync.Mutex    // held by tellActing, over its metric only
}

// Reconcile does one pass: steps of observe, decide, act, until nothing risky is left to do, and then publishes.
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
		stores.expect(req.NamespacedName, p.began) // whatever becomes of this pass
	}
	p.uncached.Members, p.replaced = p.replaced, false
	p.uncached.Store, p.stale = p.stale, false
	plan, err := p.run(ctx)
	p.sight.Store(uint32(p.seen.Sight()))
	if perr := p.publish(ctx, plan); perr != nil {
		err = errors.Join(err, perr)
	}
	switch {
	case apierrors.IsConflict(err) && p.replaced:
		return ctrl.Result{RequeueAfter: replacedPause}, nil
	case apierrors.IsConflict(err):
		// Somebody else wrote first; what was decided no longer follows from what is. Look again.
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

// sights are those of all stores, of the newest pass of each.
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
	seen    decide.Observed // what the present plan was made from
	// uncached is what is read from the API server itself for the rest of the pass.
	uncached decide.Reads
	// takenUp is the generation of the spec that was applied to the children in this pass; 0: none.
	takenUp int64
	// tooLate is the first write about a child that was not done in time: nothing more is applied in this pass.
	tooLate error
	again   time.Duration // when to look again, see within; 0: nobody said
}

// within has the store looked at again after d, or sooner where something else asks for that.
func (p *pass) within(d time.Duration) {
	if p.again == 0 || d > 0 && d < p.again {
		p.again = d
	}
}

// run takes steps until a plan holds nothing risky. Children are applied last, and only where nothing more urgent was
// done, or failed: a failover does not wait for them.
func (p *pass) run(ctx context.Context) (decide.Plan, error) {
	var plan decide.Plan
	var failed error
	for range maxSteps {
		next, err := p.look(ctx)
		if err != nil {
			p.unseen(p.Clock.Now())
			return plan, err
		}
		plan = next
		p.hold(plan.Holding, p.Clock.Now())
		p.stoodIn = plan.StandsIn
		p.announce(ctx, plan)
		if err := p.tellFirst(ctx, plan); err != nil {
			return plan, err
		}
		if err := p.act(ctx, plan); err != nil {
			p.stoodIn = 0
			failed = fmt.Errorf("%s: %w", plan.State, err)
		}
		if failed != nil || !plan.Risky() {
			break
		}
	}
	if failed != nil && plan.Risky() || plan.State == decide.Deleting || p.store.Paused() || p.seen.Standby {
		return plan, failed
	}
	err := p.applyChildren(ctx)
	if err == nil && plan.Reason != v1alpha1.ReasonApplyFailed { // or else members keep pods of an older spec
		p.takenUp = p.store.Generation
	}
	return plan, errors.Join(failed, err)
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
