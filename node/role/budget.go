package role

import (
	"errors"
	"fmt"
	"time"

	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// problem is what needs a person; comparable. The zero value is none.
type problem struct{ reason, text string }

var errBudgetSpent = errors.New("too many snapshots of late")

// The budget of snapshots is a bucket of SeedBurst tokens, one of which comes back every SeedRefill, kept as the one number
// from which the rest follows: when it is full again. That is on the calendar, because it must outlive the process, so it is
// taken with a grain of salt: no calendar that was set back keeps a member waiting for more than SeedRefill.

// seedWait is how long this member takes no whole snapshot; 0: it may now. A new, empty one always may.
func (m *Member) seedWait() time.Duration {
	if m.core.Empty() && !m.core.Promises().NeedSeed {
		return 0
	}
	return max(0, m.budgetFull()-time.Duration(m.opt.SeedBurst-1)*m.opt.SeedRefill)
}

// budgetFull is when the whole budget is back, from now on.
func (m *Member) budgetFull() time.Duration {
	left := time.Duration(m.meta.State().SeedsUntil-m.opt.Wall()) * time.Millisecond
	most := time.Duration(m.opt.SeedBurst) * m.opt.SeedRefill
	if left > most { // the calendar was set back: from here on, it runs
		left = most
		_ = m.final(m.meta.Update(func(s *meta.State) { s.SeedsUntil = m.opt.Wall() + most.Milliseconds() }))
	}
	return max(0, left)
}

// spendSeed takes one snapshot off the budget, durably and before its first byte, so that neither a crash nor a source that
// never gets to its end makes a loop of it; role goroutine.
func (m *Member) spendSeed() error {
	if m.core.Empty() && !m.core.Promises().NeedSeed {
		return nil
	}
	if m.seedWait() > 0 {
		m.problem = m.budgetSpent()
		return errBudgetSpent
	}
	m.problem = problem{}
	until := m.opt.Wall() + (m.budgetFull() + m.opt.SeedRefill).Milliseconds()
	return m.final(m.meta.Update(func(s *meta.State) { s.SeedsUntil = until }))
}

// budgetSpent says why this member waits instead of being seeded.
func (m *Member) budgetSpent() problem {
	at := time.UnixMilli(m.meta.State().SeedsUntil).Add(-time.Duration(m.opt.SeedBurst-1) * m.opt.SeedRefill)
	return problem{wire.ProblemSeedBudget, fmt.Sprintf("needs a snapshot again after %d in a short time, and takes none before %s: "+
		"either followers are left behind by more log than is retained (retain more, or write less), or snapshots break off; with an "+
		"empty data directory it starts at once", m.opt.SeedBurst, at.UTC().Format("15:04:05 MST"))}
}
