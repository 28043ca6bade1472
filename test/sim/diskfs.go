package sim

import (
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// diskFS is one process's view of a Disk.
type diskFS struct {
	disk *Disk
	life int
}

var _ vfs.FS = (*diskFS)(nil)

func pathError(op, name string, err error) error { return &os.PathError{Op: op, Path: name, Err: err} }

func (f *diskFS) dead() bool { return f.life != f.disk.life }

// find returns the directory that holds name, the last element of name, and the inode there, or nil if there is none.
func (f *diskFS) find(op, name string) (dir *inode, base string, n *inode, err error) {
	if f.dead() {
		return nil, "", nil, pathError(op, name, errGone)
	}
	dir = f.disk.root
	rest := strings.TrimPrefix(path.Clean("/"+name), "/")
	if rest == "" {
		return nil, "", dir, nil
	}
	for {
		part, more, deeper := strings.Cut(rest, "/")
		if !deeper {
			return dir, part, dir.entries[part], nil
		}
		next := dir.entries[part]
		switch {
		case next == nil:
			return nil, "", nil, pathError(op, name, os.ErrNotExist)
		case !next.dir:
			return nil, "", nil, pathError(op, name, syscall.ENOTDIR)
		}
		dir, rest = next, more
	}
}

// existing is like find, but fails if nothing is there.
func (f *diskFS) existing(op, name string) (dir *inode, base string, n *inode, err error) {
	dir, base, n, err = f.find(op, name)
	if err == nil && n == nil {
		err = pathError(op, name, os.ErrNotExist)
	}
	return dir, base, n, err
}

// full reports whether the volume lacks room for another bytes bytes. A new file needs some room, too.
func (d *Disk) full(bytes int64) bool { return d.used+bytes > d.limit }

func (d *Disk) link(dir *inode, name string, n *inode) {
	if old := dir.entries[name]; old != nil {
		d.unlinked(old)
	}
	dir.entries[name] = n
	n.links++
}

func (d *Disk) unlinked(n *inode) {
	if n.links--; n.links == 0 && !n.dir {
		d.used -= n.size()
	}
}

func (f *diskFS) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	dir, base, old, err := f.find("create", name)
	switch {
	case err != nil:
		return nil, err
	case dir == nil || old != nil && old.dir:
		return nil, pathError("create", name, syscall.EISDIR)
	case f.disk.full(sector):
		return nil, pathError("create", name, syscall.ENOSPC)
	}
	n := &inode{}
	f.disk.link(dir, base, n)
	f.disk.changed(change{node: n, to: dir, new: base})
	return &diskFile{fs: f, node: n, name: base, write: true}, nil
}

func (f *diskFS) Link(oldname, newname string) error {
	_, _, n, err := f.existing("link", oldname)
	if err != nil {
		return err
	}
	dir, base, there, err := f.find("link", newname)
	if err == nil && there != nil {
		err = pathError("link", newname, os.ErrExist)
	}
	if err != nil {
		return err
	}
	f.disk.link(dir, base, n)
	f.disk.changed(change{node: n, to: dir, new: base})
	return nil
}

func (f *diskFS) open(name string, write bool) (vfs.File, error) {
	_, base, n, err := f.existing("open", name)
	if err != nil {
		return nil, err
	}
	return &diskFile{fs: f, node: n, name: base, write: write && !n.dir}, nil
}

func (f *diskFS) Open(name string, _ ...vfs.OpenOption) (vfs.File, error) { return f.open(name, false) }

func (f *diskFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	if _, _, n, err := f.find("open", name); err == nil && n == nil {
		return f.Create(name, c)
	}
	return f.open(name, true)
}

func (f *diskFS) OpenDir(name string) (vfs.File, error) { return f.open(name, false) }

func (f *diskFS) Remove(name string) error {
	dir, base, n, err := f.existing("remove", name)
	switch {
	case err != nil:
		return err
	case dir == nil || len(n.entries) > 0:
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	f.unlink(dir, base, n)
	return nil
}

func (f *diskFS) unlink(dir *inode, base string, n *inode) {
	delete(dir.entries, base)
	f.disk.unlinked(n)
	f.disk.changed(change{node: n, from: dir, old: base})
}

func (f *diskFS) RemoveAll(name string) error {
	dir, base, n, err := f.find("remove", name)
	switch {
	case os.IsNotExist(err) || err == nil && n == nil:
		return nil
	case err != nil:
		return err
	case dir == nil:
		return pathError("remove", name, syscall.EBUSY)
	}
	for _, child := range slices.Sorted(maps.Keys(n.entries)) {
		if err := f.RemoveAll(path.Join(name, child)); err != nil {
			return err
		}
	}
	f.unlink(dir, base, n)
	return nil
}

func (f *diskFS) Rename(oldname, newname string) error {
	from, old, n, err := f.existing("rename", oldname)
	if err != nil {
		return err
	}
	to, base, there, err := f.find("rename", newname)
	switch {
	case err != nil:
		return err
	case from == nil || to == nil:
		return pathError("rename", oldname, syscall.EBUSY)
	case there == n:
		return nil
	}
	n.links++ // count the new name before the old one goes
	delete(from.entries, old)
	f.disk.unlinked(n)
	n.links--
	f.disk.link(to, base, n)
	f.disk.changed(change{node: n, from: from, old: old, to: to, new: base})
	return nil
}

func (f *diskFS) ReuseForWrite(oldname, newname string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return f.open(newname, true)
}

func (f *diskFS) MkdirAll(name string, perm os.FileMode) error {
	dir, base, n, err := f.find("mkdir", name)
	if os.IsNotExist(err) {
		if err = f.MkdirAll(path.Dir(path.Clean("/"+name)), perm); err == nil {
			dir, base, n, err = f.find("mkdir", name)
		}
	}
	switch {
	case err != nil:
		return err
	case n != nil && !n.dir:
		return pathError("mkdir", name, syscall.ENOTDIR)
	case n != nil:
		return nil
	case f.disk.full(sector):
		return pathError("mkdir", name, syscall.ENOSPC)
	}
	n = newDir()
	n.links = 0
	f.disk.link(dir, base, n)
	f.disk.changed(change{node: n, to: dir, new: base})
	return nil
}

func (f *diskFS) Lock(name string) (io.Closer, error) {
	key := path.Clean("/" + name)
	if f.disk.locks[key] {
		return nil, pathError("lock", name, syscall.EAGAIN)
	}
	if _, err := f.OpenReadWrite(name, vfs.WriteCategoryUnspecified); err != nil {
		return nil, err
	}
	f.disk.locks[key] = true
	return &diskLock{f, key}, nil
}

type diskLock struct {
	fs  *diskFS
	key string
}

func (l *diskLock) Close() error {
	if !l.fs.dead() {
		delete(l.fs.disk.locks, l.key)
	}
	return nil
}

// List returns names in sorted order. Callers must not rely on that.
func (f *diskFS) List(name string) ([]string, error) {
	_, _, n, err := f.existing("list", name)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, pathError("list", name, syscall.ENOTDIR)
	}
	return slices.Sorted(maps.Keys(n.entries)), nil
}

func (f *diskFS) Stat(name string) (vfs.FileInfo, error) {
	_, base, n, err := f.existing("stat", name)
	if err != nil {
		return nil, err
	}
	return fileInfo{base, int64(len(n.data)), n.dir, n.size()}, nil
}

func (*diskFS) PathBase(p string) string       { return path.Base(p) }
func (*diskFS) PathJoin(elem ...string) string { return path.Join(elem...) }
func (*diskFS) PathDir(p string) string        { return path.Dir(p) }
func (*diskFS) Unwrap() vfs.FS                 { return nil }

func (f *diskFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	d := f.disk
	return vfs.DiskUsage{AvailBytes: uint64(max(0, d.limit-d.used)), TotalBytes: capacity, UsedBytes: uint64(d.used)}, nil
}

type fileInfo struct {
	name      string
	size      int64
	dir       bool
	allocated int64
}

func (i fileInfo) Name() string           { return i.name }
func (i fileInfo) Size() int64            { return i.size }
func (i fileInfo) ModTime() time.Time     { return time.Time{} }
func (i fileInfo) IsDir() bool            { return i.dir }
func (i fileInfo) Sys() any               { return &syscall.Stat_t{Blocks: (i.allocated + sector - 1) / sector} }
func (i fileInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
func (i fileInfo) Mode() os.FileMode {
	if i.dir {
		return os.ModeDir | 0o755
	}
	return 0o644
}
