package role

import (
	"time"

	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/volume"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

// recountEvery is how often a member with entries in quarantine checks what is left there: people remove the files.
const recountEvery = 10 * time.Second

// recounting is the state of recount; role goroutine only.
type recounting struct {
	busy     bool
	done     bool // since the process began: an earlier process may have ended between a cut and its count
	lookedAt time.Time
	cuts     int // since the process began
}

// quarantine adds entries that a rejoin has cut from the log to the count.
func (m *Member) quarantine(cut uint64) {
	m.recounting.cuts++
	m.quarantined(m.meta.State().Quarantined + cut)
}

func (m *Member) quarantined(entries uint64) {
	if m.final(m.meta.Update(func(s *meta.State) { s.Quarantined = entries })) != nil {
		m.recounting.done = false // the volume had no room for the new count
	}
}

// recount sets the count to what the quarantine files hold, so that status stops reporting what a person has dealt with.
// A file that cannot be read still counts.
func (m *Member) recount(now time.Time) {
	r := &m.recounting
	if m.meta.State().Quarantined == 0 && r.done || r.busy || now.Sub(r.lookedAt) < recountEvery {
		return
	}
	r.busy, r.lookedAt = true, now
	cuts, dir, left := r.cuts, m.meta.QuarantineDir(), uint64(0)
	m.works.Background(func() error {
		files, err := wal.ListQuarantine(m.volume.View(volume.Vital), dir)
		for _, f := range files {
			left += f.Entries()
		}
		return err
	}, func(err error) {
		r.busy = false
		if err != nil || r.cuts != cuts {
			return
		}
		r.done = true
		if told := m.meta.State().Quarantined; left != told {
			m.opt.Log.Info("the quarantine's contents have changed", "entries", left, "told", told)
			m.quarantined(left)
		}
	})
}
