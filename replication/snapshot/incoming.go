package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// syncEvery bounds the unsynced bytes of a file being received, so that its final sync is short.
const syncEvery = 32 << 20

func (r *receiver) receiveAll(ctx context.Context) error {
	for i := range r.m.Files {
		if r.has[i] == complete {
			continue
		}
		if err := r.receiveFile(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// incoming is a file being received.
type incoming struct {
	index  int
	want   File
	part   string
	file   vfs.File
	at     int64
	synced int64
	digest hash.Hash
}

// receiveFile receives the rest of file i. Until the last file has ended the receiver sends nothing: the source is writing,
// and may not read before it is done. An error ends the conversation by closing the connection.
func (r *receiver) receiveFile(ctx context.Context, i int) error {
	in := &incoming{index: i, want: r.m.Files[i], at: r.has[i], synced: r.has[i]}
	path := r.o.FS.PathJoin(r.dir, in.want.Name)
	in.part = path + partSuffix
	var err error
	if in.file, err = r.o.FS.OpenReadWrite(in.part, durable.Category); err != nil {
		return fmt.Errorf("open %s: %w", in.part, err)
	}
	// Blocks that are preallocated now need not reach the disk with the journal's next commit, for which the fsync of every
	// log on this file system waits. The file's size remains that of what has arrived. Where this is not supported, nothing
	// is lost.
	_ = in.file.Preallocate(0, in.want.Size)
	good, err := r.fill(ctx, in)
	if err == nil && good {
		err = in.sync(in.file.Sync)
	}
	if err = errors.Join(err, in.file.Close()); err == nil && good {
		if err := r.o.FS.Rename(in.part, path); err != nil {
			return fmt.Errorf("rename %s: %w", in.part, err)
		}
		return nil
	}
	if err == nil {
		r.t.add(-in.at, r.o.Now())
		err = fmt.Errorf("%w: %s", ErrCorrupt, in.want.Name)
	}
	if errors.Is(err, ErrCorrupt) || errors.Is(err, errSync) {
		err = errors.Join(err, durable.Remove(r.o.FS, in.part))
	}
	return err
}

// errSync means that a file could not be made durable or written back. Its pages may count as clean from then on, so that the next
// fsync succeeds and reads find them. The partial file is therefore removed and not resumed.
var errSync = errors.New("fsync")

func (in *incoming) sync(how func() error) error {
	if err := how(); err != nil {
		return fmt.Errorf("%w %s: %w", errSync, in.part, err)
	}
	return nil
}

// fill receives the rest of a file. good reports whether the whole file has the digest that the source named.
func (r *receiver) fill(ctx context.Context, in *incoming) (good bool, err error) {
	if in.digest, err = hashPrefix(in.file, in.at); err != nil {
		return false, fmt.Errorf("read back %s: %w", in.part, err)
	}
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		t, payload, err := r.f.read()
		if err != nil {
			return false, err
		}
		switch t {
		case frameChunk:
			if err := r.write(in, payload); err != nil {
				return false, err
			}
		case frameFileEnd:
			e, err := decodeFileEnd(payload)
			if err == nil && (int(e.file) != in.index || e.size != in.want.Size || in.at != in.want.Size) {
				err = fmt.Errorf("%w: end of file %d after %d bytes; %s has %d", ErrFrame, e.file, in.at, in.want.Name, in.want.Size)
			}
			if err != nil {
				return false, err
			}
			return bytes.Equal(e.digest, in.digest.Sum(nil)), nil
		default:
			return false, fmt.Errorf("%w: %s within %s", ErrFrame, t, in.want.Name)
		}
	}
}

func (r *receiver) write(in *incoming, payload []byte) error {
	c, err := decodeChunk(payload)
	if err != nil {
		return err
	}
	n := int64(len(c.data))
	if int(c.file) != in.index || c.offset != in.at || n > in.want.Size-in.at {
		return fmt.Errorf("%w: %d bytes at %d of file %d; %s is at %d of %d", ErrFrame, n, c.offset, c.file, in.want.Name, in.at, in.want.Size)
	}
	_, _ = in.digest.Write(c.data) // a hash accepts everything
	if _, err := in.file.WriteAt(c.data, in.at); err != nil {
		return fmt.Errorf("write %s: %w", in.part, err)
	}
	in.at += n
	// Begin writeback at once and in small pieces: a burst of it would hold up the fsyncs of every log on the same disk.
	if err := in.sync(func() error { _, err := in.file.SyncTo(in.at); return err }); err != nil {
		return err
	}
	if in.at-in.synced >= syncEvery {
		if err := in.sync(in.file.SyncData); err != nil {
			return err
		}
		in.synced = in.at
	}
	r.t.add(n, r.o.Now())
	return nil
}
