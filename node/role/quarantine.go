package role

import (
	"time"

	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/volume"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

// recountEvery is how often a member that has something in quarantine looks what is left of it: people remove it.
const recountEvery = 10 * time.Second

// recounting is about the next recount; role goroutine only.
type recounting struct {
	busy     bool
	lookedAt time.Time
	cuts     int // since the process began
}

// quarantine counts entries that a rejoin cut from the log.
func (m *Member) quarantine(cut uint64) {
	m.recounting.cuts++
	m.quarantined(m.meta.State().Quarantined + cut)
}

func (m *Member) quarantined(entries uint64) {
	_ = m.final(m.meta.Update(func(s *meta.State) { s.Quarantined = entries }))
}

// recount lowers the count to what is left, so that nobody is told for ever of what was seen to. A file that cannot be read counts on.
func (m *Member) recount(now time.Time) {
	r := &m.recounting
	if m.meta.State().Quarantined == 0 || r.busy || now.Sub(r.lookedAt) < recountEvery {
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
		if err == nil && r.cuts == cuts && left < m.meta.State().Quarantined {
			m.opt.Log.Info("less is in quarantine than before", "entries", left)
			m.quarantined(left)
		}
	})
}
