package role

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// damageLog flips a bit in segment i of a member's log, on its disk, and returns the segment's name.
func (c *cluster) damageLog(name string, i int) string {
	c.t.Helper()
	m := c.members[name]
	segment := c.segment(name, i)
	path := m.opt.FS.PathJoin(m.meta.LogDir(m.meta.State().Generation), segment)
	f, err := m.opt.FS.OpenReadWrite(path, "test")
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	const at = 100 << 10 // in the middle of the full ones; the first ones are smaller
	if _, err := f.ReadAt(b, at); err != nil {
		c.t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, at); err != nil {
		c.t.Fatal(err)
	}
	return segment
}

// segment returns the name of the file of segment i of a member's log.
func (c *cluster) segment(name string, i int) string {
	c.t.Helper()
	m := c.members[name]
	names, err := m.opt.FS.List(m.meta.LogDir(m.meta.State().Generation))
	if err != nil {
		c.t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, ".log") })
	slices.Sort(names)
	return names[i]
}

// Damage in a closed segment is found by the scrub, while the state machine has all of it, and reported until the segment
// can go.
func TestScrubTellsOfDamage(t *testing.T) {
	c := newCluster(t)
	c.start("l", func(o *Options) { o.ScrubEvery, o.RetainEvery, o.LogRetain = 20*time.Millisecond, time.Hour, 8<<20 })
	c.lead("l")
	c.fill("a", 16)
	time.Sleep(100 * time.Millisecond)
	if s := c.status("l"); s.Problem != "" || c.members["l"].Damages() != 0 {
		t.Fatalf("before: %s", s.Problem)
	}
	name := c.damageLog("l", 2)
	until(t, "the damage is told", func() bool { return c.status("l").ProblemReason == wire.ProblemLogDamaged })
	if text := c.status("l").Problem; !strings.Contains(text, name) || !strings.Contains(text, "offset") {
		t.Errorf("it says %q", text)
	}
	c.fill("b", 1) // it goes on
}

// A damaged segment is removed; a follower that would need it is seeded.
func TestDamagedSegmentIsRemoved(t *testing.T) {
	c := newCluster(t)
	c.start("l", func(o *Options) { o.ScrubEvery, o.LogRetain = 20*time.Millisecond, 8<<20 })
	c.lead("l")
	c.fill("a", 16)
	c.damageLog("l", 2)
	c.pruned("l", 5)
	until(t, "nothing is said any more", func() bool { return c.status("l").Problem == "" })
	if n := c.members["l"].Damages(); n != 1 {
		t.Errorf("%d damaged segments", n)
	}
	c.start("f")
	c.follow("f")
	c.agrees("f")
	if !c.snapshotted("f") {
		t.Error("f got a log that begins at the beginning")
	}
}

// A follower that comes back for what the leader's disk no longer returns is seeded, instead of asking forever.
func TestFollowerThatNeedsADamagedSegmentIsSeeded(t *testing.T) {
	c := newCluster(t)
	retain := func(o *Options) { o.LogRetain = 8 << 20 }
	c.start("l", retain)
	c.start("g", retain)
	c.lead("l", "g")
	c.fill("a", 4)
	c.agrees("g")
	c.members["g"].end()
	c.fill("b", 24)
	c.damageLog("l", 3)
	c.start("g", retain)
	c.follow("g")
	c.agrees("g")
	if !c.snapshotted("g") || c.made("l") != 1 {
		t.Errorf("checkpoints: %d", c.made("l"))
	}
}

// The same if the disk does not read the segment at all.
func TestFollowerThatNeedsAnUnreadableSegmentIsSeeded(t *testing.T) {
	c := newCluster(t)
	var bad atomic.Pointer[string] // a file of the log
	disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if name := bad.Load(); name != nil && op.Kind == errorfs.OpFileReadAt && filepath.Base(op.Path) == *name {
			return syscall.EIO
		}
		return nil
	}))
	retain := func(o *Options) { o.LogRetain = 8 << 20 }
	c.start("l", retain, func(o *Options) { o.FS = disk })
	c.start("g", retain)
	c.lead("l", "g")
	c.fill("a", 4)
	c.agrees("g")
	c.members["g"].end()
	c.fill("b", 24)
	name := c.segment("l", 3)
	bad.Store(&name)
	c.start("g", retain)
	c.follow("g")
	c.agrees("g")
	if !c.snapshotted("g") || c.made("l") != 1 {
		t.Errorf("checkpoints: %d", c.made("l"))
	}
}

// While a follower is being seeded, the log it will need next is damaged at the leader. The hold is released, and the
// follower is seeded again.
func TestDamageInWhatIsHeldForASeed(t *testing.T) {
	c := ledWith(t, seedRate(1<<19), "g") // there is time for the damage before f has the snapshot
	c.start("f")
	c.follow("f")
	s := c.seedOf("f")
	c.fill("live", 24)
	segments := c.members["l"].Generation().Log.Segments()
	i := slices.IndexFunc(segments[:len(segments)-1], func(x wal.SegmentInfo) bool { return x.First > s.Position })
	if i < 0 {
		t.Fatalf("no closed segment after %d: %+v", s.Position, segments)
	}
	c.damageLog("l", i)
	c.agrees("f")
	if n := c.members["l"].Damages(); n != 1 {
		t.Errorf("%d damaged segments", n)
	}
}

// Two streams may hit the same damage. The second report may come when the segment is gone, and must not count against
// the next segment.
func TestLateNoteOfDamage(t *testing.T) {
	c := newCluster(t)
	c.start("l", func(o *Options) { o.LogRetain = 8 << 20 })
	c.lead("l")
	c.fill("a", 24)
	m := c.members["l"]
	log := m.Generation().Log
	segments := log.Segments()
	c.damageLog("l", 2)
	if _, err := (streamLog{log, m.Member}).Read(segments[2].First, 1<<20, nil); !errors.Is(err, wal.ErrDamaged) {
		t.Fatal(err)
	}
	c.pruned("l", segments[2].Last)
	if err := m.works.Do(t.Context(), func() { m.noteDamage(log, segments[2].Last, wal.ErrDamaged) }); err != nil {
		t.Fatal(err)
	}
	if _, found := segmentOf(log, segments[2].First); found || m.Damages() != 1 || c.status("l").Problem != "" {
		t.Errorf("%d damaged segments, %q", m.Damages(), c.status("l").Problem)
	}
}

// The last segment is never removed, but a follower that needs a damaged record of it is seeded anyway. (It asked
// forever, and whenever the log had grown meanwhile the same damage was counted again.)
func TestFollowerThatNeedsDamageInTheLastSegmentIsSeeded(t *testing.T) {
	c := newCluster(t)
	wide := func(o *Options) {
		o.LogRetain, o.Segments = 8<<20, wal.Options{SegmentBytes: 8 << 20, TailBytes: 64 << 10}
	}
	c.start("l", wide)
	c.start("g", wide)
	c.lead("l", "g")
	c.fill("a", 1)
	c.agrees("g")
	c.members["g"].end()
	c.fill("b", 3)
	c.damageLog("l", len(c.members["l"].Generation().Log.Segments())-1)
	c.start("g", wide)
	c.follow("g")
	until(t, "the damage is found", func() bool { return c.members["l"].Damages() > 0 })
	c.fill("c", 1)
	c.agrees("g")
	if n := c.members["l"].Damages(); !c.snapshotted("g") || c.made("l") != 1 || n != 1 {
		t.Errorf("%d checkpoints, %d damaged segments", c.made("l"), n)
	}
}

// The leader sends a snapshot itself, and the log after it is found to be damaged meanwhile. The hold for the follower is
// released once it has that snapshot, and it is sent another one. (The damage was known, so hitting it again had no
// effect.)
func TestDamageAfterTheLeadersOwnSnapshot(t *testing.T) {
	c := ledWith(t, seedRate(1<<19))
	c.start("f")
	c.follow("f")
	s := c.seedOf("f")
	c.fill("live", 24)
	l := c.members["l"]
	log := l.Generation().Log
	segments := log.Segments()
	i := slices.IndexFunc(segments[:len(segments)-1], func(x wal.SegmentInfo) bool { return x.First > s.Position })
	if i < 0 {
		t.Fatalf("no closed segment after %d: %+v", s.Position, segments)
	}
	c.damageLog("l", i)
	if err := l.works.Do(t.Context(), func() { l.noteDamage(log, segments[i].Last, wal.ErrDamaged) }); err != nil { // as the scrubber does
		t.Fatal(err)
	}
	c.agrees("f")
	if n := l.Damages(); n != 1 || c.made("l") != 2 {
		t.Errorf("%d damaged segments, %d checkpoints", n, c.made("l"))
	}
	until(t, "nothing is held any longer", func() bool { return c.orders() == 0 })
}

// If the leader's own state ends before what cannot be read, a snapshot helps nobody, and none is sent.
func TestSnapshotThatEndsBeforeDamageIsNotSent(t *testing.T) {
	r := start(t, options())
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	write(t, r, "a", "b")
	mark := r.Generation().Machine.Applied()
	hello := func(unreadable replication.Position) (v replication.Verdict, reused bool) {
		t.Helper()
		if err := r.works.Do(t.Context(), func() { r.noteUnreadable(r.Contents().Log, unreadable) }); err != nil {
			t.Fatal(err)
		}
		first, _ := r.Generation().Log.MarkAt(1)
		reply, _, err := r.Hello(t.Context(), replication.Hello{Store: "s", Member: "f", Incarnation: "i", Epoch: 1, Last: first})
		if err != nil {
			t.Fatal(err)
		}
		return reply.Verdict, r.continues(mark)
	}
	if v, reused := hello(1); v != replication.VerdictStream || !reused {
		t.Errorf("what it holds cannot be read: %s, %v", v, reused)
	}
	if v, reused := hello(mark.Position); v != replication.VerdictSeed || !reused {
		t.Errorf("the state is past what cannot be read: %s, %v", v, reused)
	}
	if v, reused := hello(mark.Position + 1); v != replication.VerdictStream || reused {
		t.Errorf("the state ends before what cannot be read: %s, %v", v, reused)
	}
}
