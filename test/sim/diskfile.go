package sim

import (
	"io"
	"os"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// diskFile is an open file or directory of one process.
type diskFile struct {
	fs    *diskFS
	node  *inode
	name  string
	pos   int64
	write bool
}

var _ vfs.File = (*diskFile)(nil)

// check runs at the start of every call.
func (f *diskFile) check(op string) error {
	switch {
	case f.node == nil:
		return pathError(op, f.name, os.ErrClosed)
	case f.fs.dead():
		return pathError(op, f.name, errGone)
	default:
		return nil
	}
}

func (f *diskFile) Close() error {
	if f.node == nil {
		return pathError("close", f.name, os.ErrClosed)
	}
	f.node = nil
	return nil
}

func (f *diskFile) Read(b []byte) (int, error) {
	n, err := f.ReadAt(b, f.pos)
	f.pos += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (f *diskFile) ReadAt(b []byte, off int64) (int, error) {
	if err := f.check("read"); err != nil {
		return 0, err
	}
	if f.node.dir {
		return 0, pathError("read", f.name, syscall.EISDIR)
	}
	if off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.node.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *diskFile) Write(b []byte) (int, error) {
	n, err := f.WriteAt(b, f.pos)
	f.pos += int64(n)
	return n, err
}

// WriteAt writes as much as the volume has room for.
func (f *diskFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.check("write"); err != nil {
		return 0, err
	}
	if !f.write {
		return 0, pathError("write", f.name, syscall.EBADF)
	}
	d, n := f.fs.disk, f.node
	was := n.size()
	if room := was + max(0, d.limit-d.used); n.links > 0 && off+int64(len(b)) > room {
		b = b[:max(0, room-off)]
		f.put(b, off, was)
		return len(b), pathError("write", f.name, syscall.ENOSPC)
	}
	f.put(b, off, was)
	return len(b), nil
}

func (f *diskFile) put(b []byte, off, was int64) {
	f.node.write(b, int(off))
	f.grown(was)
}

// grown accounts for the file's growth beyond its previous size.
func (f *diskFile) grown(was int64) {
	if f.node.links > 0 {
		f.fs.disk.used += f.node.size() - was
	}
}

// Preallocate reserves space without changing the file's size.
func (f *diskFile) Preallocate(off, length int64) error {
	if err := f.check("allocate"); err != nil {
		return err
	}
	was := f.node.size()
	if more := off + length - was; more > 0 {
		if f.fs.disk.full(more) {
			return pathError("allocate", f.name, syscall.ENOSPC)
		}
		f.node.allocated = off + length
		f.grown(was)
	}
	return nil
}

func (f *diskFile) Stat() (vfs.FileInfo, error) {
	if err := f.check("stat"); err != nil {
		return nil, err
	}
	return fileInfo{f.name, int64(len(f.node.data)), f.node.dir, f.node.size()}, nil
}

func (f *diskFile) Sync() error {
	if err := f.check("sync"); err != nil {
		return err
	}
	if f.fs.disk.syncFails() {
		if !f.node.dir {
			f.node.drop()
		}
		return pathError("sync", f.name, syscall.EIO)
	}
	if f.node.dir {
		f.fs.disk.settle(f.node)
	} else {
		f.node.sync()
	}
	return nil
}

func (f *diskFile) SyncData() error { return f.Sync() }

// SyncTo does nothing: the interface promises nothing.
func (f *diskFile) SyncTo(int64) (fullSync bool, err error) { return false, f.check("sync") }

func (f *diskFile) Prefetch(int64, int64) error { return f.check("prefetch") }
func (f *diskFile) Fd() uintptr                 { return vfs.InvalidFd }
