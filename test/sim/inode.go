package sim

import "fmt"

// inode is a file or a directory.
type inode struct {
	dir   bool
	links int // number of names

	// Of a file.
	data      []byte
	allocated int64 // bytes set aside, which may be more than data
	kept      int64 // how much of allocated is durable
	synced    int   // bytes of data that the durable file has
	// dirty holds the durable content of sectors before synced that were overwritten since. Everything beyond synced is dirty.
	dirty map[int][]byte
	// dropped holds the durable content of sectors whose newer content a failed sync discarded.
	dropped map[int][]byte

	// Of a directory: its entries, and which of them are durable (apart from Disk.journal).
	entries, stable map[string]*inode
}

func newDir() *inode {
	return &inode{dir: true, links: 1, entries: map[string]*inode{}, stable: map[string]*inode{}}
}

// size returns how much of the volume the file takes up, in bytes.
func (n *inode) size() int64 { return max(n.allocated, int64(len(n.data))) }

// write writes b at off and saves the durable content that it overwrites.
func (n *inode) write(b []byte, off int) {
	if len(b) == 0 {
		return
	}
	for s := off / sector; s*sector < min(off+len(b), n.synced); s++ {
		if _, ok := n.dirty[s]; ok {
			continue
		}
		if n.dirty == nil {
			n.dirty = map[int][]byte{}
		}
		if old, ok := n.dropped[s]; ok {
			n.dirty[s] = old
			delete(n.dropped, s)
			continue
		}
		n.dirty[s] = append([]byte(nil), n.data[s*sector:min((s+1)*sector, n.synced)]...)
	}
	if grow := off + len(b) - len(n.data); grow > 0 {
		n.data = append(n.data, make([]byte, grow)...)
	}
	copy(n.data[off:], b)
}

// sync makes the whole file durable, except for what was dropped.
func (n *inode) sync() {
	clear(n.dirty)
	n.synced, n.kept = len(n.data), n.allocated
}

// drop is a failed sync: unwritten data counts as clean. Beyond the durable end, the durable content of a sector is zeros.
func (n *inode) drop() {
	if n.dropped == nil {
		n.dropped = map[int][]byte{}
	}
	for s, old := range n.dirty {
		n.dropped[s] = append(old, make([]byte, min((s+1)*sector, len(n.data))-s*sector-len(old))...)
	}
	for s := (n.synced + sector - 1) / sector; s*sector < len(n.data); s++ {
		n.dropped[s] = make([]byte, min((s+1)*sector, len(n.data))-s*sector)
	}
	if tail := n.synced % sector; tail > 0 && n.synced < len(n.data) {
		s := n.synced / sector
		if _, ok := n.dropped[s]; !ok {
			end := min((s+1)*sector, len(n.data))
			n.dropped[s] = append(append([]byte(nil), n.data[s*sector:n.synced]...), make([]byte, end-n.synced)...)
		}
	}
	kept := n.kept
	n.sync()
	n.kept = kept
}

// restore reverts sectors to their old content.
func (n *inode) restore(sectors map[int][]byte) {
	for s, old := range sectors {
		copy(n.data[s*sector:], old)
	}
}

// afterCrash returns the content that is found after a power loss.
func (n *inode) afterCrash(c *crash) []byte {
	now := append([]byte(nil), n.data...)
	out := append([]byte(nil), n.data[:min(n.synced, len(n.data))]...)
	for s, old := range n.dropped {
		copy(now[s*sector:], old)
		copy(out[min(s*sector, len(out)):], old)
	}
	for s, old := range n.dirty {
		copy(out[s*sector:], old)
	}
	for at := 0; at < len(now); at += c.unit {
		end := min(at+c.unit, len(now))
		if !n.unsynced(at, end) || !c.survives() {
			continue
		}
		if end > len(out) {
			out = append(out, make([]byte, end-len(out))...)
		}
		copy(out[at:end], now[at:end])
	}
	return out
}

// unsynced reports whether a power loss could lose anything in [at, end).
func (n *inode) unsynced(at, end int) bool {
	if end > n.synced {
		return true
	}
	for s := at / sector; s*sector < end && len(n.dirty) > 0; s++ {
		if _, ok := n.dirty[s]; ok {
			return true
		}
	}
	return false
}

func (n *inode) describe(path string) string {
	return fmt.Sprintf("%8d %8d durable, %d sectors written since  %s\n", len(n.data), n.synced, len(n.dirty), path)
}
