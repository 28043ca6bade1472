package sim

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Disk is one volume together with the page cache over it. Data that was written and not synced is only in the cache: it survives
// the death of a process, and survives a power loss in part. Pebble's crashable MemFS serves the same purpose, but lets map
// iteration order decide what survives, so no seed would be repeatable.
type Disk struct {
	Name string

	loop    *Loop
	root    *inode
	life    int // of the process that owns the volume; handles from an earlier life are dead
	locks   map[string]bool
	journal []change // directory changes that are not durable yet, in order
	used    int64
	limit   int64 // on used, in bytes
	hung    bool
	syncs   int // countdown to the sync that fails; 0: none will
}

// capacity is the size of every volume, in bytes.
const capacity = 1 << 30

// sector is the unit of atomic writes, in bytes.
const sector = 512

// errGone is returned by the handles of a dead process.
var errGone = errors.New("sim: the process that opened this is gone")

// NewDisk returns an empty volume.
func (l *Loop) NewDisk(name string) *Disk {
	return &Disk{Name: name, loop: l, root: newDir(), locks: map[string]bool{}, limit: capacity}
}

// FS returns the volume as the current process sees it. The view is valid until Crash, Kill or Wipe.
func (d *Disk) FS() vfs.FS { return &diskFS{disk: d, life: d.life} }

// Kill models the death of the process. Everything written survives, except what a failed sync dropped and the cache has forgotten
// since.
func (d *Disk) Kill() {
	d.life++
	clear(d.locks)
	d.syncs = 0
	d.walk(func(_ string, n *inode) {
		if len(n.dropped) > 0 && d.loop.Chance(0.5) {
			n.restore(n.dropped)
			n.dropped = nil
		}
	})
}

// Crash models a power loss. Part of what was not synced survives. Each crash draws anew how much survives, in what pieces, and
// whether directory changes survive in order, as in a journalling file system, or not.
func (d *Disk) Crash() {
	d.Kill()
	c := crash{
		loop: d.loop, percent: []int{0, 20, 50, 80, 100}[d.loop.Rand.IntN(5)],
		unit: []int{sector, 4096}[d.loop.Rand.IntN(2)], made: map[*inode]*inode{},
	}
	c.directories(d.journal)
	d.journal = nil
	d.root = c.survivor(d.root)
	d.used = 0
	for n := range maps.Values(c.made) {
		d.used += n.size()
	}
}

// Wipe replaces the volume with an empty one.
func (d *Disk) Wipe() {
	d.Kill()
	d.root, d.journal, d.used = newDir(), nil, 0
}

// Fill leaves room for left more bytes. Whatever needs more fails with ENOSPC. Removing files makes room.
func (d *Disk) Fill(left int64) { d.limit = min(capacity, d.used+left) }

// Free ends Fill.
func (d *Disk) Free() { d.limit = capacity }

// Full reports whether Fill is in effect.
func (d *Disk) Full() bool { return d.limit < capacity }

// FailSync makes the n-th sync from now fail with EIO (1 is the next one). The file's unsynced data is then dropped the way Linux
// drops it: it can still be read and counts as clean, but is not on the disk.
func (d *Disk) FailSync(n int) { d.syncs = n }

// SetHung makes the disk hang, or work again. It only sets a flag: users of the disk must check Hung first, and wait.
func (d *Disk) SetHung(hung bool) { d.hung = hung }

// Hung reports whether the disk hangs.
func (d *Disk) Hung() bool { return d.hung }

// Used returns the number of bytes that files take up.
func (d *Disk) Used() int64 { return d.used }

// walk visits every file and directory once per name, in path order.
func (d *Disk) walk(visit func(path string, n *inode)) {
	var into func(path string, n *inode)
	into = func(path string, n *inode) {
		visit(path, n)
		for _, name := range slices.Sorted(maps.Keys(n.entries)) {
			into(path+"/"+name, n.entries[name])
		}
	}
	into("", d.root)
}

// String lists the files with their sizes, cached and durable.
func (d *Disk) String() string {
	var b strings.Builder
	d.walk(func(path string, n *inode) {
		if !n.dir {
			b.WriteString(n.describe(path))
		}
	})
	return b.String()
}

// syncFails counts down to the sync that is to fail, and reports whether this is the one.
func (d *Disk) syncFails() bool {
	if d.syncs == 0 {
		return false
	}
	d.syncs--
	return d.syncs == 0
}

// change is one directory change: an entry moves from one name to another (a rename), or a name is only added or only removed.
type change struct {
	node     *inode
	from, to *inode // directories; nil: none
	old, new string
}

func (c change) apply() {
	if c.from != nil {
		delete(c.from.stable, c.old)
	}
	if c.to != nil {
		c.to.stable[c.new] = c.node
	}
}

// changed records a directory change that is not durable yet.
func (d *Disk) changed(c change) { d.journal = append(d.journal, c) }

// settle makes the changes that involve dir durable.
func (d *Disk) settle(dir *inode) {
	rest := d.journal[:0]
	for _, c := range d.journal {
		if c.from == dir || c.to == dir {
			c.apply()
		} else {
			rest = append(rest, c)
		}
	}
	clear(d.journal[len(rest):])
	d.journal = rest
}

// crash builds the volume that is found after a power loss.
type crash struct {
	loop    *Loop
	percent int // percentage of the unsynced data that survives
	unit    int // granularity at which file content survives, in bytes
	made    map[*inode]*inode
}

func (c *crash) survives() bool { return c.percent > 0 && c.loop.Rand.IntN(100) < c.percent }

// directories chooses which changes survive: either a prefix of the journal, or arbitrary new names and no removals.
func (c *crash) directories(journal []change) {
	if c.loop.Chance(0.5) {
		for _, ch := range journal {
			if !c.survives() {
				return
			}
			ch.apply()
		}
		return
	}
	for _, ch := range journal {
		if ch.to != nil && c.survives() {
			ch.from = nil
			ch.apply()
		}
	}
}

// survivor returns what is left of n. A file with several names stays one file.
func (c *crash) survivor(n *inode) *inode {
	if m := c.made[n]; m != nil {
		m.links++
		return m
	}
	m := &inode{dir: n.dir, links: 1}
	c.made[n] = m
	if !n.dir {
		m.data = n.afterCrash(c)
		m.synced, m.allocated, m.kept = len(m.data), n.kept, n.kept
		return m
	}
	m.entries = map[string]*inode{}
	for _, name := range slices.Sorted(maps.Keys(n.stable)) {
		m.entries[name] = c.survivor(n.stable[name])
	}
	m.stable = maps.Clone(m.entries)
	return m
}
