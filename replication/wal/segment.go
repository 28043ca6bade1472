package wal

import (
	"errors"
	"fmt"
	"sort"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// indexEvery is the distance in bytes between entries of a segment's index. It bounds what a reader scans before it reaches
// the record it wants.
const indexEvery = 64 << 10

// place is a record boundary in a segment: the record at off continues prev.
type place struct {
	off  int64
	prev replication.Mark
}

// segment is one open segment file.
type segment struct {
	path   string
	header segmentHeader
	file   vfs.File // for reads, and for the writes of recovery and settle
	// out holds what was appended but is not in the file yet. syncFile is the handle that it is written and synced through;
	// it is nil once everything in the segment is synced and nothing more will be appended. Guarded by Log.syncMu.
	out      outbox
	syncFile *blockFile
	size     int64 // of the file, in bytes; fixed when it is made, except that an empty segment grows to fit an oversized record

	// prepared means that the next segment's file has been requested. Guarded by Log.appendMu.
	prepared bool

	// suspect means that a reader found damage, so the file must not be reused.
	suspect atomic.Bool

	refs atomic.Int32 // one for the Log and one for each reader; the last release closes the file

	// Guarded by Log.mu.
	end    replication.Mark // of the last record; the base when there is none
	off    int64            // where the next record or note goes; -1 in a sealed segment that was not scanned
	wrote  place            // everything before it is in the file; meaningless while off is -1
	synced int64            // bytes before it are fsynced
	noted  int64            // the largest offset that a note vouches for, whether or not that note is in the file yet
	index  []place          // sorted; index[0] is the base
}

func (s *segment) base() replication.Position { return s.header.base.Position }

func (s *segment) acquire() { s.refs.Add(1) }

// release drops a reference; the last one closes the file. The error of that close is ignored: the file was only read, or
// was fsynced before, so the error says nothing about its data.
func (s *segment) release() {
	if s.refs.Add(-1) == 0 {
		_ = s.file.Close()
	}
}

// addPlace indexes p unless it is too close to an indexed neighbour. The caller holds Log.mu.
func (s *segment) addPlace(p place) {
	i := sort.Search(len(s.index), func(i int) bool { return s.index[i].off > p.off })
	if i > 0 && p.off-s.index[i-1].off < indexEvery || i < len(s.index) && s.index[i].off-p.off < indexEvery {
		return
	}
	s.index = append(s.index, place{})
	copy(s.index[i+1:], s.index[i:])
	s.index[i] = p
}

// placeBefore returns the last indexed place whose next record starts at or before position p. The caller holds Log.mu.
func (s *segment) placeBefore(p replication.Position) place {
	i := sort.Search(len(s.index), func(i int) bool { return s.index[i].prev.Position >= p })
	return s.index[max(i-1, 0)]
}

// openSegment opens an existing file whose header has been read.
func openSegment(fs vfs.FS, path string, h segmentHeader, writable bool) (*segment, error) {
	s := &segment{path: path, header: h, end: h.base, off: h.length, index: []place{{off: h.length, prev: h.base}}}
	s.refs.Store(1)
	var err error
	if writable {
		s.file, err = fs.OpenReadWrite(path, durable.Category)
	} else {
		s.file, err = fs.Open(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open segment %s: %w", path, err)
	}
	if err := s.openRest(fs, writable); err != nil {
		return nil, errors.Join(err, s.closeFiles())
	}
	return s, nil
}

func (s *segment) openRest(fs vfs.FS, writable bool) error {
	info, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("stat segment %s: %w", s.path, err)
	}
	s.size = info.Size()
	if !writable {
		return nil
	}
	if s.syncFile, err = openBlocks(fs, s.path, s.size); err != nil {
		return fmt.Errorf("open segment %s to sync it: %w", s.path, err)
	}
	return nil
}

// appendAt makes appends continue after end, at offset off. Everything before off is in the file, bytes before synced are
// fsynced, and a note vouches for the bytes before noted.
func (s *segment) appendAt(end replication.Mark, off, synced, noted int64) error {
	at := off / block * block
	head := make([]byte, off-at)
	if n, err := s.file.ReadAt(head, at); n < len(head) {
		return fmt.Errorf("read %d of %d bytes at %d of segment %s: %w", n, len(head), at, s.path, err)
	}
	s.out.begin(at, head)
	s.end, s.off, s.synced, s.noted, s.wrote = end, off, synced, noted, place{off: off, prev: end}
	return nil
}

// closeFiles closes both handles of a segment that has no readers.
func (s *segment) closeFiles() error {
	return errors.Join(s.closeSyncFile(), s.file.Close())
}

func (s *segment) closeSyncFile() error {
	if s.syncFile == nil {
		return nil
	}
	f := s.syncFile
	s.syncFile = nil
	s.out.drop()
	return f.Close()
}

// settle writes and syncs the note which says that the segments before this one, and this one's header, are durable.
func (s *segment) settle() error {
	n := note{kind: noteSettled, salt: s.header.salt, offset: s.header.length}
	if _, err := s.file.WriteAt(n.appendTo(nil), s.header.length-settledSize); err != nil {
		return fmt.Errorf("write settled note of segment %s: %w", s.path, err)
	}
	if err := s.file.SyncData(); err != nil {
		return fmt.Errorf("fsync segment %s: %w", s.path, err)
	}
	return nil
}
