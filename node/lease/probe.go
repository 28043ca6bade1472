package lease

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// diskWrite is the category under which the file system accounts the probe's writes.
const diskWrite vfs.DiskWriteCategory = "probe"

// The probe overwrites one block of probeFile in place, so that it does not fail on a full disk, on which the log may
// still have room prepared.
const (
	probeFile  = "probe"
	probeBytes = 512
)

// DiskProbe checks whether a directory takes durable writes in time. It is safe for concurrent use.
//
// Invariant: at most one write is under way. While the disk hangs, only that write's goroutine waits for it; every Check
// fails when its context ends and starts no other goroutine.
type DiskProbe struct {
	fs   vfs.FS
	path string
	fail func(error)
	turn chan error // cap 1; holds the final error, or nil, while no write is under way

	// Owned by whoever took the turn.
	file vfs.File // nil: the next write creates a new one
	next uint64   // numbers the writes
}

// OpenDiskProbe opens the probe's file in dir; it writes nothing yet. fail is called once, with a failed write or sync.
// It must end the process, because the probe never passes again. It is called on the probe's own goroutine, even if every
// Check has given up before.
func OpenDiskProbe(fs vfs.FS, dir string, fail func(error)) (*DiskProbe, error) {
	p := &DiskProbe{fs: fs, path: fs.PathJoin(dir, probeFile), fail: fail, turn: make(chan error, 1)}
	if err := p.open(); err != nil {
		return nil, err
	}
	p.turn <- nil
	return p, nil
}

func (p *DiskProbe) open() error {
	f, err := p.fs.OpenReadWrite(p.path, diskWrite)
	if err != nil {
		return fmt.Errorf("open the disk probe: %w", err)
	}
	p.file = f
	return nil
}

// Check writes and syncs. After a failed sync it fails forever: the kernel forgets pages that it could not write, so a
// later success would prove nothing (Rebello et al., "Can Applications Recover from fsync Failures?", 2020). It also
// fails forever after a failed write: the file system has become read-only, has shut down, or has lost its device. A
// member with nothing to write would learn of that nowhere else, and would pass for a healthy voter.
//
// Running out of space says nothing against the disk, even at the sync, where some file systems allocate blocks. The
// probe holds no data that could be lost with those pages, so it continues with a new file, whose sync reports only on
// writes to that file.
func (p *DiskProbe) Check(ctx context.Context) error {
	var last error
	select {
	case last = <-p.turn:
	case <-ctx.Done():
		return fmt.Errorf("the disk has not finished a previous write: %w", ctx.Err())
	}
	if last != nil {
		p.turn <- last
		return last
	}
	done := make(chan error, 1)
	go func() {
		final, err := p.write()
		if final != nil {
			p.fail(final)
		}
		done <- errors.Join(final, err)
		p.turn <- final
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the disk does not finish a write: %w", ctx.Err())
	}
}

// write returns in final what ends the probe for good, and in err what only this write failed with.
func (p *DiskProbe) write() (final, err error) {
	if err = p.writeBlock(); err != nil {
		if passes(err) {
			return nil, err
		}
		return err, nil
	}
	err = p.file.Sync()
	switch {
	case err == nil:
		return nil, nil
	case durable.IsNoSpace(err):
		_ = p.file.Close() // it fails with the same error, and the file is not used any more
		p.file = nil
		return nil, fmt.Errorf("sync the disk probe: %w", err)
	default:
		return fmt.Errorf("sync the disk probe: %w", err), nil
	}
}

func (p *DiskProbe) writeBlock() error {
	if p.file == nil {
		if err := errors.Join(durable.Remove(p.fs, p.path), p.open()); err != nil {
			return err
		}
	}
	p.next++
	var block [probeBytes]byte
	binary.LittleEndian.PutUint64(block[:], p.next)
	if _, err := p.file.WriteAt(block[:], 0); err != nil {
		return fmt.Errorf("write the disk probe: %w", err)
	}
	return nil
}

// passes reports whether err says nothing against the disk: it has no room, or the process has too many files open.
func passes(err error) bool {
	return durable.IsNoSpace(err) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// Close waits for a write that is under way, or until ctx ends, and closes the file.
func (p *DiskProbe) Close(ctx context.Context) error {
	select {
	case <-p.turn:
		p.turn <- errors.New("the disk probe is closed")
		if p.file == nil {
			return nil
		}
		return p.file.Close()
	case <-ctx.Done():
		return fmt.Errorf("close the disk probe: %w", ctx.Err())
	}
}
