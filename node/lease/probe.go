package lease

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// diskWrite is the category under which the file system counts the probe's writes.
const diskWrite vfs.DiskWriteCategory = "probe"

// probeFile's one block is overwritten in place, so that a full disk, on which the log may still have room prepared, does
// not fail it.
const (
	probeFile  = "probe"
	probeBytes = 512
)

// DiskProbe tells whether a directory takes durable writes in time. It is safe for concurrent use.
//
// Invariant: at most one write is under way. While the disk hangs, the goroutine of that write waits for it, and every
// Check fails when its context ends, without a goroutine of its own.
type DiskProbe struct {
	file vfs.File
	turn chan error // cap 1; holds what is final, or nil, while no write is under way
	next uint64     // numbers the writes; owned by whoever took the turn
}

// OpenDiskProbe opens the probe's file in dir; it writes nothing yet.
func OpenDiskProbe(fs vfs.FS, dir string) (*DiskProbe, error) {
	f, err := fs.OpenReadWrite(fs.PathJoin(dir, probeFile), diskWrite)
	if err != nil {
		return nil, fmt.Errorf("open the disk probe: %w", err)
	}
	p := &DiskProbe{file: f, turn: make(chan error, 1)}
	p.turn <- nil
	return p, nil
}

// Check writes and syncs. After a failed sync it fails for ever: the pages that could not be written are forgotten by the
// kernel, so a later success would prove nothing (Rebello et al., "Can Applications Recover from fsync Failures?", 2020).
func (p *DiskProbe) Check(ctx context.Context) error {
	var last error
	select {
	case last = <-p.turn:
	case <-ctx.Done():
		return fmt.Errorf("the disk has not finished an earlier write: %w", ctx.Err())
	}
	if last != nil {
		p.turn <- last
		return last
	}
	done := make(chan error, 1)
	go func() {
		final, err := p.write()
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

// write returns what ends the probe for good, or what only this write failed with.
func (p *DiskProbe) write() (final, err error) {
	p.next++
	var block [probeBytes]byte
	binary.LittleEndian.PutUint64(block[:], p.next)
	if _, err := p.file.WriteAt(block[:], 0); err != nil {
		return nil, fmt.Errorf("write the disk probe: %w", err)
	}
	if err := p.file.Sync(); err != nil {
		return fmt.Errorf("sync the disk probe: %w", err), nil
	}
	return nil, nil
}

// Close waits for a write that is under way, or for the end of ctx, and closes the file.
func (p *DiskProbe) Close(ctx context.Context) error {
	select {
	case <-p.turn:
		p.turn <- errors.New("the disk probe is closed")
		return p.file.Close()
	case <-ctx.Done():
		return fmt.Errorf("close the disk probe: %w", ctx.Err())
	}
}
