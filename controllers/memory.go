package controllers

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// memory is what is remembered of one store between passes. Passes of one store never overlap, so only the Lease's part,
// which events feed too, needs its lock, and sight, which the operators' election reads.
type memory struct {
	held     map[string]time.Time // since when each of Plan.Holding has been seen
	looked   time.Time            // when a look saw what there is, last
	probes   map[string]*probe    // by member
	departed decide.Departed
	applied  map[string]applied // children, by kind and name
	alone    int                // the time of the election in which they were; see Election.undisturbed
	refused  map[string]refusal // claims that may not grow, by member
	vain     map[string]vain    // attempts to make members, by member
	// unapplied and unrouted: see decide.Observed.
	unapplied map[string]decide.Unapplied
	unrouted  string
	lates     map[string]lateness // kinds of children that were not applied in time
	trial     trial
	// said is what was announced last.
	said struct {
		state  decide.State
		reason string
	}

	published time.Time // when status was written last, by the pass's beginning

	warned map[string]time.Time // when each failure was told, by its text

	// noted is when each Plan.Notes was seen last; nil before the first pass.
	noted map[string]time.Time

	promoted  decide.PromotedAt
	stoodIn   replication.Epoch // see decide.Observed
	known     known             // the record as it was read or written last, not from the cache
	decided   decide.Outcome    // see decide.Observed.Before
	handovers handovers
	lease     leaseWatch
	version   leaseVersion
	sight     atomic.Uint32 // decide.Sight of the newest pass
	// routed is what was written of the -rw Service's EndpointSlice and has not come back yet; routeVersion what the cache holds.
	routed       *routed
	routeVersion string
	routeFamily  discoveryv1.AddressType // of where it leads
	// stale: the cache's copy of the store was too old to publish with; the next pass reads it uncached.
	stale bool
	// replaced: so was its list of pods and claims, in which one has another UID by now; the next pass lists them uncached.
	replaced bool
}

// handovers counts those of one leadership that failed in a row.
type handovers struct {
	epoch  replication.Epoch
	failed int
	why    string
	at     time.Time
}

func (h *handovers) tried(e replication.Epoch, err error, now time.Time) {
	if h.epoch != e || err == nil {
		*h = handovers{epoch: e}
	}
	if err != nil {
		h.failed, h.why, h.at = h.failed+1, err.Error(), now
	}
}

// seen is what a decision needs of them.
func (h *handovers) seen(now time.Time) decide.HandoverFailures {
	if h.failed == 0 {
		return decide.HandoverFailures{}
	}
	return decide.HandoverFailures{Epoch: h.epoch, InARow: h.failed, Why: h.why, Ago: now.Sub(h.at)}
}

// probe is what is remembered of asking one member.
type probe struct {
	uid      types.UID // of the pod that was asked
	status   *wire.Status
	statusAt time.Time // when that was asked for
	failing  time.Time // since when it has not answered; zero while it does
	answered time.Time // when it, in this pod, answered last
	at       string    // the address where that was
	foreign  string    // an address where somebody else answered since
	askedAt  time.Time
	timedOut bool
	refused  bool
	trouble  string // see decide.Probe
}

// applied is what was sent for one child, so that it is not sent again in vain.
type applied struct {
	hash    string
	uid     types.UID
	version string // resourceVersion that came of it; "" when it is not compared
}

// refusal is why the API server did not let a claim ask for more, and when.
type refusal struct {
	why  string
	size string
	at   time.Time
}

// attempted takes down how making a member from a spec ended. That others came first says nothing about it.
func (m *memory) attempted(member, hash string, err error, now time.Time) {
	switch {
	case err == nil:
		delete(m.vain, member)
	case !errors.Is(err, errOthersFirst):
		m.vain[member] = m.vain[member].again(hash, now, err)
	}
}

// unmade is why members could not be made, by member; see decide.Observed.
func (m *memory) unmade() map[string]string {
	out := make(map[string]string, len(m.vain))
	for member, v := range m.vain {
		out[member] = brief(strings.ReplaceAll(distinct(v.err.Error()), "\n", "; "))
	}
	return out
}

// trial is what the API server said to a pod that was tried, and when. The zero value: none was.
type trial struct {
	ordinal int
	hash    string // of the pod
	refused string
	unclear bool
	at      time.Time
}

func newMemory() *memory {
	return &memory{
		held: map[string]time.Time{}, probes: map[string]*probe{}, departed: decide.Departed{}, applied: map[string]applied{},
		refused: map[string]refusal{}, vain: map[string]vain{}, unapplied: map[string]decide.Unapplied{}, lates: map[string]lateness{},
		warned: map[string]time.Time{},
	}
}

// resume forgets what was applied if another operator has acted since: that one may have applied other things.
func (m *memory) resume(now int) {
	if m.alone != now {
		m.alone = now
		clear(m.applied)
	}
}

// hold starts the clocks of facts seen now, and drops those of facts not seen any more.
func (m *memory) hold(facts []string, now time.Time) {
	held := make(map[string]time.Time, len(facts))
	for _, f := range facts {
		held[f] = now
		if since, ok := m.held[f]; ok {
			held[f] = since
		}
	}
	m.held, m.looked = held, now
}

// blink is for how long facts are taken as seen without interruption though looks fail: longer than the pause between two of them while
// something is timed, so that a request that fails once in a while begins nothing anew.
const blink = 1500 * time.Millisecond

// unseen is called after a look that failed: nothing was seen. All facts begin anew then, also those that members tell: most are
// patience with somebody who needs the API server himself, as a leader to renew its Lease, and for the others it costs a delay.
func (m *memory) unseen(now time.Time) {
	if now.Sub(m.looked) > blink {
		clear(m.held)
	}
}

// noteAgain is after how long a note that was not seen counts as a new one: a member that does not answer for a moment has
// not begun anew.
const noteAgain = 10 * time.Minute

// fresh are the notes that were not seen before. Those of the first pass were seen by the operator before this one.
func (m *memory) fresh(notes []decide.Note, now time.Time) (out []decide.Note) {
	first := m.noted == nil
	if first {
		m.noted = map[string]time.Time{}
	}
	for _, n := range notes {
		if _, known := m.noted[n.Key]; !known && !first {
			out = append(out, n)
		}
		m.noted[n.Key] = now
	}
	for key, seen := range m.noted {
		if now.Sub(seen) >= noteAgain {
			delete(m.noted, key)
		}
	}
	return out
}

func (m *memory) heldFor(now time.Time) map[string]time.Duration {
	out := make(map[string]time.Duration, len(m.held))
	for f, since := range m.held {
		out[f] = now.Sub(since)
	}
	return out
}

// leaseWatch measures, on this process's monotonic clock, how long a Lease has not changed. The renew time in it is another
// host's: it is compared for equality only, never with a clock here.
type leaseWatch struct {
	mu      sync.Mutex
	renewed time.Time
	epoch   replication.Epoch
	since   time.Time // guarded by mu, as all of it
}

// see takes down a Lease (nil: there is none). An older copy, as a cache may deliver, at worst starts the clock again.
func (w *leaseWatch) see(l *coordinationv1.Lease, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var renewed time.Time
	if l != nil && l.Spec.RenewTime != nil {
		renewed = l.Spec.RenewTime.Time
	}
	if w.since.IsZero() || !renewed.Equal(w.renewed) {
		w.renewed, w.since = renewed, now
	}
}

// led starts the clock again when another leadership is recorded, and tells how long it has run.
func (w *leaseWatch) led(e replication.Epoch, now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e != w.epoch {
		w.epoch, w.since = e, now
	}
	return now.Sub(w.since)
}

// restart is called before every order to promote: the new leader's own deadline starts no later than that order, and so
// must the clock here, however late the order reaches it. What it returns takes that back, unless something was seen since: a refused
// order begins no leadership.
func (w *leaseWatch) restart(now time.Time) (undo func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.since
	w.since = now
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.since.Equal(now) {
			w.since = before
		}
	}
}

// holderOf is who has renewed the Lease. The operator writes the holder, so one that has not renewed yet is none.
func holderOf(l *coordinationv1.Lease) string {
	if l.Spec.RenewTime == nil || l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}
