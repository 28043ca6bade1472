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

// lookEvery is how often the volume is measured while there is ample room; otherwise it is measured at every tick.
const lookEvery = time.Second

// space is what the member knows about its volume and does about it; role goroutine only.
type space struct {
	volume.Space
	lookedAt time.Time
	// noRoom is set after the log could not take a record. Nothing more is appended until there is room for a segment
	// again.
	noRoom    bool
	triedAt   time.Time // when the log could not take it
	triedWith int64     // free bytes at that time
	refilling bool
	refillAt  time.Time // not before
	dropping  bool      // excess log files are being removed
	reclaim   reclaim
}

// String describes the volume to people.
func (s *space) String() string {
	return fmt.Sprintf("%s free of %s", wire.Bytes(s.Free), wire.Bytes(s.Total))
}

// reclaim is the state of Member.reclaim.
type reclaim struct {
	busy bool
	next time.Time // not before
}

// share is the divisor for writes on their way to a volume: each kind of them may take 1/share of it. See part.
const share = 32

const (
	// roomForLog is how many bytes must be free above the floor, and have become free, before the log is tried again.
	roomForLog = 1 << 20
	// tryLogEvery is when the log is tried again although no more has become free: the entry that did not fit may have
	// been given up.
	tryLogEvery = 5 * time.Second
	// refillEvery is how often refilling the reserve is retried when that changes nothing: a file system need not report
	// what it has set aside.
	refillEvery = 10 * time.Second
)

// Room says what a leader's clients may write.
type Room struct {
	// Add is how many bytes one command may add to the data.
	Add int64
	// Rewrite says whether commands may overwrite existing values. It turns false halfway between the full mark and the
	// floor below which the log begins no new segment, because commands that only remove must still get into the log.
	Rewrite bool
	// Why tells people what prevents more.
	Why string
}

// Vital returns the file system for small files that must work even on a full volume.
func (m *Member) Vital() vfs.FS { return m.volume.View(volume.Vital) }

// Room returns what clients may write now. It never waits and may be called by any goroutine.
func (m *Member) Room() Room {
	if r := m.room.Load(); r != nil {
		return *r
	}
	return Room{Add: math.MaxInt64, Rewrite: true}
}

// tendVolume measures the volume and acts on what has changed.
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
				m.opt.Log.Error(err, "could not remove checkpoints to make room; retrying")
			}
		})
	}
	if m.space.Level == volume.Full {
		m.endSeeds() // open checkpoints would keep the tables that are being reclaimed
		m.reclaim(now)
	}
}

// reclaimRest is how long reclaiming rests, as a multiple of the time it took.
const reclaimRest = 10

// reclaim makes the state machine return the space of deleted and flushed data. By itself it may do so late, or not at
// all while nothing is added.
func (m *Member) reclaim(now time.Time) {
	c, r := m.Contents(), &m.space.reclaim
	if r.busy || now.Before(r.next) {
		return
	}
	r.busy = true
	m.works.Background(c.State.Reclaim, func(err error) {
		ended := m.opt.Now()
		r.busy, r.next = false, ended.Add(max(lookEvery, reclaimRest*ended.Sub(now)))
		if m.Contents() == c { // errors of contents that were replaced meanwhile do not matter
			_ = m.final(err)
		}
	})
}

func (m *Member) lookAtVolume(now time.Time) {
	before := m.space.Level
	m.space.Space, m.space.lookedAt = m.volume.Measure(), now
	if s := m.space.Space; s.Level != before {
		m.opt.Log.Info("the volume's fill level changed", "level", s.Level.String(), "free", s.Free, "total", s.Total)
	}
	r := Room{Add: math.MaxInt64, Rewrite: true}
	if s := m.space.Space; s.Total > 0 {
		// Added data is written twice: to the log, and to the state machine's tables.
		r.Add, r.Why = max(0, s.Free-s.FullBelow())/2, m.fullText()
		r.Rewrite = s.Free > (s.FullBelow()+s.Floor())/2
	}
	if m.space.Level == volume.Full || m.space.noRoom {
		r.Add = 0
	}
	m.room.Store(&r)
	m.reuse(m.Contents())
}

// reuse lets the log keep files of pruned segments for reuse while there is ample room, also for a pending snapshot.
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
			if m.Contents() == c { // errors of contents that were replaced meanwhile do not matter
				_ = m.final(err)
			}
		})
	}
}

// fullText describes the full volume, and what to do about it.
func (m *Member) fullText() string {
	return fmt.Sprintf("the volume of %s has %s: enlarge it (spec.storage.size) or delete keys (DEL, UNLINK and FLUSHALL "+
		"work, and EXPIRE while there is room for it); reads are served", m.opt.Member, m.space.String())
}

// disk returns what status reports about the volume.
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

// part bounds, by the size of the volume, each kind of data that may be on its way to it, in bytes: the writes in flight,
// the memtables, the log's last segment, and the one prepared after it. Each may still arrive after the volume was found
// to be full; together they take the room reserved for that.
func (m *Member) part() int64 {
	const least = 1 << 20
	total := m.volume.Measure().Total
	if total <= 0 {
		return math.MaxInt64
	}
	return max(total/share, least)
}

// StateUse classifies the state machine's writes by their use of the volume. The tables of a flush may be large, and
// without them the log cannot be trimmed. Files other than tables must not fail.
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

// noRoomFor reports whether err means that the volume has no room for the log, and if so notes that.
func (m *Member) noRoomFor(err error) bool {
	var refusal *replication.Refusal
	full := errors.Is(err, replication.ErrNoSpace) || errors.As(err, &refusal) && refusal.Reason == replication.ReasonNoRoom
	if full && !m.space.noRoom {
		m.space.noRoom = true
		m.space.triedAt = m.opt.Now()
		m.lookAtVolume(m.space.triedAt)
		m.space.triedWith = m.space.Free
		m.opt.Log.Info("the volume is full: the log accepts nothing until there is room", "volume", m.space.String(), "error", err.Error())
	}
	return full
}
