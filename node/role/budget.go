package role

import (
	"errors"
	"fmt"
	"time"

	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// problem is something that needs a person; comparable. The zero value is none.
type problem struct{ reason, text string }

var errBudgetSpent = errors.New("too many snapshots recently")

// The snapshot budget is a token bucket: it holds SeedBurst tokens and regains one every SeedRefill. It is stored as one
// number from which the rest follows: the time at which the bucket is full again. That is calendar time, because it must
// outlive the process, so it is not trusted blindly: a calendar that was set back makes no member wait longer than
// SeedRefill.

// seedWait returns how long this member must wait before it may take a whole snapshot; 0 if it may now. A new, empty
// member always may.
func (m *Member) seedWait() time.Duration {
	if m.core.Empty() && !m.core.Promises().NeedSeed {
		return 0
	}
	return max(0, m.budgetFull()-time.Duration(m.opt.SeedBurst-1)*m.opt.SeedRefill)
}

// budgetFull returns the time until the whole budget is back.
func (m *Member) budgetFull() time.Duration {
	left := time.Duration(m.meta.State().SeedsUntil-m.opt.Wall()) * time.Millisecond
	most := time.Duration(m.opt.SeedBurst) * m.opt.SeedRefill
	if left > most { // the calendar was set back; count from now
		left = most
		_ = m.final(m.meta.Update(func(s *meta.State) { s.SeedsUntil = m.opt.Wall() + most.Milliseconds() }))
	}
	return max(0, left)
}

// spendSeed takes one snapshot off the budget, durably and before its first byte arrives, so that neither a crash nor a
// source that never finishes can cause an endless loop; role goroutine.
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

// budgetSpent describes why this member waits instead of being seeded.
func (m *Member) budgetSpent() problem {
	at := time.UnixMilli(m.meta.State().SeedsUntil).Add(-time.Duration(m.opt.SeedBurst-1) * m.opt.SeedRefill)
	return problem{wire.ProblemSeedBudget, fmt.Sprintf("needs another snapshot after %d in a short time, and accepts none before %s: "+
		"either the leader retains too little log for its followers (retain more, or write less), or snapshots break off; with an "+
		"empty data directory it starts at once", m.opt.SeedBurst, at.UTC().Format("15:04:05 MST"))}
}
