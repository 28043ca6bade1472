package decide

import (
	"errors"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Memory is what an operator remembers of one store between passes, as far as decisions follow from it. It dies with the
// process. It does no I/O, and the only clock is the now of its methods, which must come from one monotonic clock.
//
// Passes of one store never overlap. Only Lease may be used at any time by anybody.
type Memory struct {
	Facts    Facts
	Lease    LeaseClock
	Known    Known
	Contacts Contacts
	Departed Departed
	Attempts Attempts
	Tried    Tried
	// Promoted, StoodIn and Before are described in Observed.
	Promoted PromotedAt
	StoodIn  replication.Epoch
	Before   Outcome
	// Outdated names the copies in the cache that turned out to be too old. The next pass reads these uncached.
	Outdated Reads

	failures HandoverFailures
	failedAt time.Time // when the newest of them failed
}

// NewMemory returns the memory of an operator that has just started.
func NewMemory() *Memory {
	return &Memory{Facts: Facts{Since: map[string]time.Time{}}, Contacts: Contacts{}, Departed: Departed{}, Attempts: Attempts{}}
}

// Remind sets in o what is remembered, except what goes into Lease, Members, Trial and Unmade.
func (m *Memory) Remind(o *Observed, now time.Time) {
	o.Held, o.Promoted, o.StoodIn, o.Before = m.Facts.held(now), m.Promoted, m.StoodIn, m.Before
	if o.Handovers = m.failures; m.failures.InARow > 0 {
		o.Handovers.Ago = now.Sub(m.failedAt)
	}
}

// Planned remembers the plan made from o, before it is carried out. A plan that asks for another read (Plan.Reread) is not
// remembered.
func (m *Memory) Planned(o Observed, p Plan, now time.Time) {
	m.Facts.hold(p.Holding, now)
	if m.StoodIn = p.StandsIn; !o.Cached.Record {
		m.Before = p.Outcome()
	}
}

// ActFailed remembers that the newest plan was not carried out to its end.
func (m *Memory) ActFailed() { m.StoodIn = 0 }

// Promoting is called before every order to promote, and settle with the answer to it. A refusal is an answer, which goes to
// pass, and no error.
//
// The leader's own deadline starts no later than the order, however late that arrives, and so must the clock of the Lease. A
// refused order begins no leadership, so the clock goes on from before, unless something was seen since.
func (m *Memory) Promoting(pass *Pass, r wire.PromoteRequest, now time.Time) (settle func(err error, now time.Time) error) {
	undo := m.Lease.restart(now)
	return func(err error, now time.Time) error {
		if refusal, refused := errors.AsType[*wire.Error](err); refused {
			undo()
			pass.PromoteEpoch, pass.PromoteRefusal = r.Epoch, refusal
			return nil
		}
		if m.Lease.restart(now); err == nil {
			m.Promoted = PromotedAt{Epoch: r.Epoch, At: now}
		}
		return err
	}
}

// HandedOver remembers how an order to hand over ended. It goes to pass too.
func (m *Memory) HandedOver(pass *Pass, r wire.HandoverRequest, end replication.Mark, err error, now time.Time) {
	if m.failures.Epoch != r.Epoch || err == nil {
		m.failures = HandoverFailures{}
	}
	if err != nil {
		m.failures.Epoch, m.failures.InARow, m.failures.Why, m.failedAt = r.Epoch, m.failures.InARow+1, err.Error(), now
		pass.HandoverError = err.Error()
		return
	}
	pass.Handover = &HandoverHeld{Epoch: r.Epoch, To: r.To, End: end}
}

// Facts measures how long each fact of Plan.Holding has been seen without interruption.
type Facts struct {
	Since map[string]time.Time // never nil
	// Looked is when a look last succeeded.
	Looked time.Time
}

// hold starts the clocks of facts that are seen now, and drops those of facts that no longer are.
func (f *Facts) hold(facts []string, now time.Time) {
	held := make(map[string]time.Time, len(facts))
	for _, fact := range facts {
		held[fact] = now
		if since, ok := f.Since[fact]; ok {
			held[fact] = since
		}
	}
	f.Since, f.Looked = held, now
}

// blink is how long facts still count as seen without interruption although looks fail. It is longer than the pause between
// two looks while something is timed, so that a request that fails now and then restarts no timing.
const blink = 1500 * time.Millisecond

// Unseen is called after a look that failed and so saw nothing. After blink, all facts start over, including those that
// members report: most of them time somebody who needs the API server too, such as a leader that has to renew its Lease; for
// the others it costs a delay.
func (f *Facts) Unseen(now time.Time) {
	if now.Sub(f.Looked) > blink {
		clear(f.Since)
	}
}

func (f *Facts) held(now time.Time) map[string]time.Duration {
	out := make(map[string]time.Duration, len(f.Since))
	for fact, since := range f.Since {
		out[fact] = now.Sub(since)
	}
	return out
}
