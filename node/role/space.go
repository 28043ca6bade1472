package role

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/volume"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// lookEvery is how often the volume is looked at while there is ample room; else it is at every tick.
const lookEvery = time.Second

// space is what the member knows and makes of its volume; role goroutine only.
type space struct {
	volume.Space
	lookedAt time.Time
	// noRoom: the log could not take a record. Nothing more is appended until there is room for a segment again.
	noRoom    bool
	triedAt   time.Time // when it could not
	triedWith int64     // what was free then
	refilling bool
	refillAt  time.Time // not before
	dropping  bool      // files that the log may keep no more
	reclaim   reclaim
}

// reclaim is what is done about a full volume: see Member.reclaim.
type reclaim struct {
	busy bool
	next time.Time // not before
}

// share: what may be on the way to a volume takes one part in so many of it, each.
const share = 32

const (
	// roomForLog is what must be free above the floor, and have come free, before the log is tried again.
	roomForLog = 1 << 20
	// tryLogEvery is when it is tried again where no more has come free: what was too large for the room there was may have been given up.
	tryLogEvery = 5 * time.Second
	// refillEvery is how often the reserve is set aside where that changes nothing: a file system need not tell what it has set aside.
	refillEvery = 10 * time.Second
)

// Room is what a leader's clients may write.
type Room struct {
	// Add is how many bytes one command may add to the data.
	Add int64
	// Rewrite: commands may write values anew that are there already. It ends half way to where the log begins no segment any
	// more: what only removes must still get there.
	Rewrite bool
	// Why tells people what stands against more.
	Why string
}

// Vital is the file system for what is small and must work on a full volume too.
func (m *Member) Vital() vfs.FS { return m.volume.View(volume.Vital) }

// Room is called from anywhere; it never waits.
func (m *Member) Room() Room {
	if r := m.room.Load(); r != nil {
		return *r
	}
	return Room{Add: math.MaxInt64, Rewrite: true}
}

// tendVolume looks at the volume and acts on what has changed.
func (m *Member) tendVolume(now time.Time) {
	if m.space.Level == volume.Ample && !m.space.noRoom && now.Sub(m.space.lookedAt) < lookEvery {
		return
	}
	m.lookAtVolume(now)
	if m.space.noRoom && m.space.Free >= m.space.Floor()+roomForLog &&
		(m.space.Free >= m.space.triedWith+roomForLog || now.Sub(m.space.triedAt) >= tryLogEvery) {
		m.opt.Log.Info("there is room for the log again", "volume", m.space.String())
		m.space.noRoom = false
	}
	if m.space.Missing > 0 && m.space.Free >= m.space.Floor() && !m.space.refilling && !now.Before(m.space.refillAt) {
		m.space.refilling = true
		before := m.space.Missing
		m.works.Background(m.volume.Refill, func(err error) {
			m.space.refilling = false
			now := m.opt.Now()
			if m.lookAtVolume(now); m.space.Missing == before {
				m.space.refillAt = now.Add(refillEvery)
			}
			_ = m.final(err)
		})
	}
	if remove := m.works.SpareSeeds(m.space.Level); remove != nil {
		m.works.Background(remove, func(err error) {
			if err != nil {
				m.opt.Log.Error(err, "checkpoints could not be removed to make room; this is tried again")
			}
		})
	}
	if m.space.Level == volume.Full {
		m.endSeeds() // which would keep the tables that are given back
		m.reclaim(now)
	}
}

// reclaimRest is for how many times as long as it took nothing is reclaimed after that.
const reclaimRest = 10

// reclaim has the state machine give back what was deleted and is flushed: by itself it may do so late, or not at all while nothing is
// added.
func (m *Member) reclaim(now time.Time) {
	c, r := m.Contents(), &m.space.reclaim
	if r.busy || now.Before(r.next) {
		return
	}
	r.busy = true
	m.works.Background(c.State.Reclaim, func(err error) {
		ended := m.opt.Now()
		r.busy, r.next = false, ended.Add(max(lookEvery, reclaimRest*ended.Sub(now)))
		if m.Contents() == c { // what was replaced meanwhile may fail as it likes
			_ = m.final(err)
		}
	})
}

func (m *Member) lookAtVolume(now time.Time) {
	before := m.space.Level
	m.space.Space, m.space.lookedAt = m.volume.Measure(), now
	if s := m.space.Space; s.Level != before {
		m.opt.Log.Info("how full the volume is has changed", "level", s.Level.String(), "free", s.Free, "total", s.Total)
	}
	r := Room{Add: math.MaxInt64, Rewrite: true}
	if s := m.space.Space; s.Total > 0 {
		// What is added is written twice: to the log, and to the state machine's tables.
		r.Add, r.Why = max(0, s.Free-s.FullBelow())/2, m.fullText()
		r.Rewrite = s.Free > (s.FullBelow()+s.Floor())/2
	}
	if m.space.Level == volume.Full || m.space.noRoom {
		r.Add = 0
	}
	m.room.Store(&r)
	m.reuse(m.Contents())
}

// reuse lets the log keep files of pruned segments to write over, while there is ample room, also for a snapshot that is to come.
func (m *Member) reuse(c *Contents) {
	most := int64(math.MaxInt64)
	switch {
	case m.space.noRoom || m.space.Level != volume.Ample || m.problem.reason == wire.ProblemNoRoom:
		most = 0
	case m.space.Total > 0:
		most = m.space.Total / share
	default:
	}
	if c != nil && c.Log.Reuse(most) && !m.space.dropping {
		m.space.dropping = true
		m.works.Background(c.Log.DropExcess, func(err error) {
			m.space.dropping = false
			if m.Contents() == c { // what was replaced meanwhile may fail as it likes
				_ = m.final(err)
			}
		})
	}
}

// fullText says what is full, and what to do.
func (m *Member) fullText() string {
	return fmt.Sprintf("the volume of %s has %s: enlarge it (spec.storage.size) or delete keys (DEL, UNLINK and FLUSHALL are "+
		"taken, and EXPIRE while there is room for it); reads are served", m.opt.Member, m.space.String())
}

// disk is what status tells about the volume.
func (m *Member) disk() wire.Disk {
	s := m.space.Space
	d := wire.Disk{UsedBytes: s.Used, FreeBytes: s.Free, TotalBytes: s.Total, ReserveBytes: s.Reserve}
	switch {
	case m.space.noRoom || s.Level == volume.Full:
		d.Level = wire.DiskFull
	case s.Level == volume.NearlyFull:
		d.Level = wire.DiskNearlyFull
	default:
	}
	return d
}

// part bounds, by the size of the volume, what may be on the way to it, in bytes: the writes in flight, the memtables, the last
// segment of the log and the one prepared after it. Each may still come when the volume is found to be full; together they
// take what is kept for that.
func (m *Member) part() int64 {
	const least = 1 << 20
	total := m.volume.Measure().Total
	if total <= 0 {
		return math.MaxInt64
	}
	return max(total/share, least)
}

// StateUse is what the state machine's files use the volume for: the tables of a flush, without which the log cannot be
// trimmed, may be large; everything but tables must not fail.
func StateUse(name string, c vfs.DiskWriteCategory) volume.Use {
	switch {
	case !strings.HasSuffix(name, ".sst") && !strings.HasSuffix(name, ".blob"):
		return volume.Vital
	case c == "pebble-memtable-flush": // pebble.getDiskWriteCategoryForCompaction
		return volume.Bulk
	default:
		return volume.Ordinary
	}
}

// noRoomFor notes that the log could not take a record. It says whether err is about that.
func (m *Member) noRoomFor(err error) bool {
	var refusal *replication.Refusal
	full := errors.Is(err, replication.ErrNoSpace) || errors.As(err, &refusal) && refusal.Reason == replication.ReasonNoRoom
	if full && !m.space.noRoom {
		m.space.noRoom = true
		m.space.triedAt = m.opt.Now()
		m.lookAtVolume(m.space.triedAt)
		m.space.triedWith = m.space.Free
		m.opt.Log.Info("the volume is full: the log takes nothing until there is room", "volume", m.space.String(), "error", err.Error())
	}
	return full
}
