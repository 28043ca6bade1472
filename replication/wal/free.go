package wal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// freePrefix begins the name of a file that was a segment and may be one again; Open removes those there are.
const freePrefix = "free-"

// reuseMost bounds how many of them a log keeps: as many as a busy one fills from one prune to the next.
//
// Filling segments with zeros is half of what a log writes, and its fsyncs wait for that. Measured (three members on one disk, values of
// 4 KiB while tables are compacted and a follower is seeded; ratios): bytes written beside the logs 0.55, p99.9 of SET 0.75 to 0.85.
const reuseMost = 4

// Reuse bounds how many bytes the files of pruned segments may take that are kept to be written over, in place of new ones; before it is
// called, reuseMost does. excess: DropExcess has something to do.
func (l *Log) Reuse(most int64) (excess bool) {
	s := &l.spare
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = int(min(reuseMost, max(most, 0)/roundUp(l.opt.SegmentBytes)))
	return len(s.freed) > s.limit
}

// DropExcess removes the files that are too many since Reuse. An error is final.
func (l *Log) DropExcess() error {
	l.pruneMu.Lock()
	defer l.pruneMu.Unlock()
	s := &l.spare
	s.mu.Lock()
	n := min(s.limit, len(s.freed))
	excess := s.freed[n:]
	s.freed = s.freed[:n:n]
	s.mu.Unlock()
	if err := removeBlanks(l.fs, excess); err != nil {
		return l.fail(err)
	}
	return nil
}

// retire takes the file of a segment that is no part of the log any more out of its place, and keeps it where it is of use. Nothing may
// be written to what is kept before the directory is synced: after a crash the segment may be in its place again. Caller holds pruneMu.
func (l *Log) retire(s *segment) (kept blank, err error) {
	switch {
	case s.size != roundUp(l.opt.SegmentBytes), // made when the log was small, or for one large record
		s.refs.Load() > 1, // somebody reads it
		s.suspect.Load(),
		!l.spare.wants():
		return blank{}, durable.Remove(l.fs, s.path)
	default:
	}
	path := l.fs.PathJoin(l.dir, fmt.Sprintf("%s%020d%s", freePrefix, s.base()+1, durable.TempSuffix))
	switch err := l.fs.Rename(s.path, path); {
	case durable.IsNoSpace(err): // in the directory
		return blank{}, durable.Remove(l.fs, s.path)
	case err != nil:
		return blank{}, fmt.Errorf("rename %s to %s: %w", s.path, path, err)
	default:
	}
	return blank{path: path, size: s.size, used: true}, nil
}

func (s *spare) wants() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.freed) < s.limit
}

// free keeps what retire has.
func (s *spare) free(b blank) {
	if b.path == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.freed = append(s.freed, b)
}

func isFree(name string) bool {
	return strings.HasPrefix(name, freePrefix) && strings.HasSuffix(name, durable.TempSuffix)
}

// unsynced is how far rest, the bytes from off on behind the record that ends in end, may hold what was appended after it. In a file that
// had another life that is more than a guess only up to the end of the block, which was written with zeros behind the record: what is
// left of the other life has earlier positions, because only what is pruned is written over, but clients' values may look like anything.
func (h *segmentHeader) unsynced(rest []byte, off int64, end replication.Mark) (n int) {
	if !h.reused {
		return len(bytes.TrimRight(rest, "\x00"))
	}
	n = len(bytes.TrimRight(rest[:min(roundUp(off)-off, int64(len(rest)))], "\x00"))
	rest = rest[:min(len(rest), guessMost)]
	for i := range indexes(rest, binary.LittleEndian.AppendUint16(nil, replication.RecordMagic)) {
		if len(rest)-i < replication.HeaderSize || rest[i+3] != 0 {
			continue // a cheap look before the thorough one
		}
		r, err := replication.DecodeHeader(rest[i:])
		if err != nil || r.Epoch < end.Epoch || r.First <= end.Position || uint64(r.First-end.Position-1) > uint64(i) {
			continue
		}
		n = max(n, i+min(r.Size(), len(rest)-i))
	}
	return n
}

// guessMost bounds what unsynced takes for appended in a file that had another life, in bytes.
const guessMost = 4 * mostUnwritten
