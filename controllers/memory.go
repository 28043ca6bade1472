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

// memory is what is remembered of one store between passes. Passes of one store never overlap, so only two parts need
// synchronization: the Lease's, which events feed too, and sight, which the operators' election reads.
type memory struct {
	held     map[string]time.Time // since when each fact of Plan.Holding has been seen
	looked   time.Time            // when a look last succeeded
	probes   map[string]*probe    // by member
	departed decide.Departed
	applied  map[string]applied // children, by kind and name
	alone    int                // the undisturbed period in which they were applied; see Election.undisturbed
	refused  map[string]refusal // claims that may not grow, by member
	vain     map[string]vain    // attempts to make members, by member
	// unapplied, unrouted and refusedLast are described in decide.Observed.
	unapplied   map[string]decide.Unapplied
	unrouted    string
	refusedLast string
	lates       map[string]lateness // kinds of children that were not applied in time
	trial       trial
	// said is what was last announced.
	said struct {
		state  decide.State
		reason string
	}

	published time.Time // when the pass that last wrote status began

	warned map[string]time.Time // when each failure was reported, by its text

	// noted is when each of Plan.Notes was last seen; nil before the first pass.
	noted map[string]time.Time

	promoted  decide.PromotedAt
	stoodIn   replication.Epoch // see decide.Observed
	known     known             // the record as it was last read uncached or written
	decided   decide.Outcome    // see decide.Observed.Before
	handovers handovers
	lease     leaseWatch
	version   leaseVersion
	sight     atomic.Uint32 // decide.Sight of the newest pass
	// routed is what was written to the -rw Service's EndpointSlice and has not come back yet; routeVersion is what the
	// cache holds.
	routed       *routed
	routeVersion string
	routeFamily  discoveryv1.AddressType // address family of the route's endpoint
	// stale: the cached copy of the store was too old to publish with; the next pass reads the store uncached.
	stale bool
	// replaced: the list of pods and claims was too old, since one of them has another UID by now; the next pass lists them
	// uncached.
	replaced bool
}

// handovers counts the handovers of one leadership that failed in a row.
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

// seen returns what a decision needs of them.
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
	statusAt time.Time // when status was asked for
	failing  time.Time // since when it has not answered; zero while it does
	answered time.Time // when this very pod last answered
	at       string    // the address at which it did
	foreign  string    // an address at which somebody else has answered since
	askedAt  time.Time
	timedOut bool
	refused  bool
	trouble  string // see decide.Probe
}

// applied is what was sent for one child, so that it is not sent again needlessly.
type applied struct {
	hash    string
	uid     types.UID
	version string // resulting resourceVersion; compared only for children that a store has once
}

// refusal is why the API server did not let a claim request more, and when.
type refusal struct {
	why  string
	size string
	at   time.Time
}

// attempted records how making a member from a spec ended. That others came first says nothing about the member.
func (m *memory) attempted(member, hash string, err error, now time.Time) {
	switch {
	case err == nil:
		delete(m.vain, member)
	case !errors.Is(err, errOthersFirst):
		m.vain[member] = m.vain[member].again(hash, now, err)
	}
}

// unmade says why members could not be made, by member; see decide.Observed.
func (m *memory) unmade() map[string]string {
	out := make(map[string]string, len(m.vain))
	for member, v := range m.vain {
		out[member] = brief(strings.ReplaceAll(distinct(v.err.Error()), "\n", "; "))
	}
	return out
}

// trial is the API server's answer to a pod that was tried, and when. The zero value means that none was.
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

// hold starts the clocks of facts that are seen now, and drops those of facts that no longer are.
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

// blink is how long facts still count as seen without interruption although looks fail. It is longer than the pause between
// two looks while something is timed, so that a request that fails now and then restarts no timing.
const blink = 1500 * time.Millisecond

// unseen is called after a look that failed and so saw nothing. After blink, all facts start over, including those that
// members report: most of them time somebody who needs the API server too, such as a leader that has to renew its Lease; for
// the others it costs a delay.
func (m *memory) unseen(now time.Time) {
	if now.Sub(m.looked) > blink {
		clear(m.held)
	}
}

// noteAgain is how long a note must not have been seen to count as new again: a member that does not answer for a moment has
// not started over.
const noteAgain = 10 * time.Minute

// fresh returns the notes that were not seen before. Those of the first pass were reported by the operator before this one.
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

// leaseWatch measures, on this process's monotonic clock, how long a Lease has not changed. The renew time in the Lease
// comes from another host: it is compared for equality only, never with a clock here.
type leaseWatch struct {
	mu      sync.Mutex
	renewed time.Time
	epoch   replication.Epoch
	since   time.Time // mu guards all fields
}

// see records a Lease (nil: there is none). An older copy, as a cache may deliver, at worst restarts the clock.
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

// led restarts the clock if another leadership is recorded, and returns how long the clock has run.
func (w *leaseWatch) led(e replication.Epoch, now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e != w.epoch {
		w.epoch, w.since = e, now
	}
	return now.Sub(w.since)
}

// restart is called before every order to promote: the new leader's own deadline starts no later than that order, and so
// must the clock here, however late the order arrives. The returned undo takes the restart back unless something was seen
// since: a refused order begins no leadership.
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

// holderOf returns who has renewed the Lease. The operator writes the holder, so a holder that has not renewed yet does not
// count.
func holderOf(l *coordinationv1.Lease) string {
	if l.Spec.RenewTime == nil || l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}
