package durable

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Category labels this module's files in the file system's write statistics.
const Category vfs.DiskWriteCategory = "replication"

// SyncDir makes the entries of dir durable: files created in it, renamed into it and removed from it.
func SyncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory %s to sync it: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("fsync directory %s: %w", dir, err)
	}
	return nil
}

// MkdirAll makes dir and its missing parents, each of them durable in its parent. The entry of a dir that exists is synced
// too: whoever made it may have been killed before syncing it.
func MkdirAll(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(dir); err == nil {
		return SyncDir(fs, fs.PathDir(dir))
	} else if !IsNotExist(err) {
		return fmt.Errorf("look for directory %s: %w", dir, err)
	}
	parent := fs.PathDir(dir)
	if parent != dir {
		if err := MkdirAll(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make directory %s: %w", dir, err)
	}
	return SyncDir(fs, parent)
}

// ErrOutcomeUnknown means that the step that makes a change visible failed half-way, so a crash may leave either outcome.
var ErrOutcomeUnknown = errors.New("outcome unknown")

// WriteFile atomically replaces the file dir/name with data: after a crash it holds the old content or the new. It writes
// to dir/name.tmp first, which a crash may leave behind and the next call overwrites. After an error other than
// ErrOutcomeUnknown the file is unchanged.
func WriteFile(fs vfs.FS, dir, name string, data []byte) error {
	tmp, path := fs.PathJoin(dir, name+TempSuffix), fs.PathJoin(dir, name)
	if err := writeSynced(fs, tmp, data); err != nil {
		return errors.Join(err, Remove(fs, tmp))
	}
	if err := fs.Rename(tmp, path); err != nil {
		return fmt.Errorf("rename %s to %s: %w: %w", tmp, path, ErrOutcomeUnknown, err)
	}
	if err := SyncDir(fs, dir); err != nil {
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return nil
}

// TempSuffix ends the name of a file that is still being written. Such a file is never read.
const TempSuffix = ".tmp"

func writeSynced(fs vfs.FS, path string, data []byte) error {
	f, err := fs.Create(path, Category)
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	// vfs allows Write to modify the slice it is given, so it gets a copy.
	if _, err := f.Write(append([]byte(nil), data...)); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(fmt.Errorf("fsync %s: %w", path, err), f.Close())
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close %s: %w", path, err)
	}
	return nil
}

// ReadFile returns the content of path. It is an error if that exceeds limit bytes.
func ReadFile(fs vfs.FS, path string, limit int64) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer f.Close() // read only: nothing to lose
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("stat %s: %w", path, err)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("read %s: %d bytes exceed the bound of %d", path, info.Size(), limit)
	}
	data := make([]byte, info.Size())
	if n, err := f.ReadAt(data, 0); n < len(data) {
		return nil, fmt.Errorf("read %s: %d of %d bytes: %w", path, n, len(data), err)
	}
	return data, nil
}

// Remove removes a file; it is not an error if the file does not exist. The removal is durable after the next SyncDir.
func Remove(fs vfs.FS, path string) error {
	if err := fs.Remove(path); err != nil && !IsNotExist(err) {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}

// Allocated returns how many bytes of the volume a file takes, including those preallocated beyond its size. If the file
// system does not say, it returns the size.
func Allocated(info vfs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512 // st_blocks counts 512-byte units, whatever the file system's block size
	}
	return info.Size()
}

// IsNotExist reports whether err says that a file does not exist.
func IsNotExist(err error) bool { return errors.Is(err, iofs.ErrNotExist) }

// IsNoSpace reports whether err says that the volume, or a quota on it, is full.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
