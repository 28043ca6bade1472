package volume

import (
	"os"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// Use is what space on the volume is used for; see the package comment.
type Use uint8

// The uses, in the order in which a filling volume refuses them.
const (
	Growth Use = iota
	Ordinary
	Bulk
	Vital
)

// UseOf returns the use of a file, given its name and, if known, the category under which it is written.
type UseOf func(name string, c vfs.DiskWriteCategory) Use

// View returns the file system for a single use.
func (v *Volume) View(u Use) vfs.FS {
	return v.ViewBy(func(string, vfs.DiskWriteCategory) Use { return u }, nil)
}

// ViewBy returns a file system in which the use differs by file. full, unless nil, is called before an operation fails
// because nothing is left that it may take; it may block.
func (v *Volume) ViewBy(use UseOf, full func()) vfs.FS {
	return &view{FS: v.fs, v: v, use: use, full: full}
}

type view struct {
	vfs.FS
	v    *Volume
	use  UseOf
	full func()
}

// try retries op as long as the volume is full and the reserve has a piece for it.
func (f *view) try(u Use, op func() error) error {
	err := op()
	for durable.IsNoSpace(err) {
		released, failed := f.v.release(u)
		if failed != nil {
			return failed
		}
		if !released {
			break
		}
		err = op()
	}
	if f.full != nil && durable.IsNoSpace(err) {
		f.full()
	}
	return err
}

func (f *view) open(name string, c vfs.DiskWriteCategory, op func() (vfs.File, error)) (vfs.File, error) {
	u := f.use(name, c)
	var file vfs.File
	err := f.try(u, func() (err error) {
		if u == Growth && !f.v.above(0) {
			return &os.PathError{Op: "open", Path: name, Err: syscall.ENOSPC}
		}
		file, err = op()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &viewFile{File: file, view: f, use: u}, nil
}

func (f *view) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(name, c, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f *view) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return f.open(name, c, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, o...) })
}

func (f *view) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(to, c, func() (vfs.File, error) { return f.FS.ReuseForWrite(from, to, c) })
}

func (f *view) Link(from, to string) error {
	return f.try(f.use(to, ""), func() error { return f.FS.Link(from, to) })
}

func (f *view) Rename(from, to string) error {
	return f.try(f.use(to, ""), func() error { return f.FS.Rename(from, to) })
}

func (f *view) MkdirAll(dir string, perm os.FileMode) error {
	return f.try(f.use(dir, ""), func() error { return f.FS.MkdirAll(dir, perm) })
}

func (f *view) Unwrap() vfs.FS { return f.FS }

type viewFile struct {
	vfs.File
	view *view
	use  Use
}

func (f *viewFile) Write(b []byte) (n int, err error) {
	err = f.view.try(f.use, func() error {
		wrote, err := f.File.Write(b[n:])
		n += wrote
		return err
	})
	return n, err
}

func (f *viewFile) WriteAt(b []byte, off int64) (n int, err error) {
	err = f.view.try(f.use, func() error {
		wrote, err := f.File.WriteAt(b[n:], off+int64(n))
		n += wrote
		return err
	})
	return n, err
}

// above reports whether the floor stays free if n bytes are taken.
func (v *Volume) above(n int64) bool {
	s := v.Measure()
	return s.Total <= 0 || n <= s.Free-s.Floor()
}

func (f *viewFile) Preallocate(off, length int64) error {
	if f.use == Growth && !f.view.v.above(length) {
		return syscall.ENOSPC
	}
	return f.view.try(f.use, func() error { return f.File.Preallocate(off, length) })
}
