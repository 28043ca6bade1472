package wal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// freePrefix begins the name of a file that was a segment and may become one again. Open removes such files.
const freePrefix = "free-"

// reuseMost bounds how many of these files a log keeps: as many as a busy log fills from one prune to the next.
//
// Zero-filling segments is half of what a log writes, and its fsyncs wait for that. Measured (three members on one disk,
// values of 4 KiB while tables are compacted and a follower is seeded; ratios): bytes written beside the logs 0.55, p99.9
// of SET 0.75 to 0.85.
const reuseMost = 4

// Reuse bounds how many bytes the files of pruned segments may take that are kept for reuse. Until it is called, only
// reuseMost bounds them. excess reports that DropExcess has something to do.
func (l *Log) Reuse(most int64) (excess bool) {
	s := &l.spare
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = int(min(reuseMost, max(most, 0)/roundUp(l.opt.SegmentBytes)))
	return len(s.freed) > s.limit
}

// DropExcess removes the files beyond the bound set by Reuse. An error is final.
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

// retire takes away the file of a segment that is no longer part of the log, and keeps it for reuse if it is suitable. A
// kept file must not be written to before the directory is synced: after a crash the segment may be back in its place. The
// caller holds pruneMu.
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
	case durable.IsNoSpace(err): // for the directory entry
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

// free adds the file that retire has kept, if any.
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

// unsynced estimates how many bytes of rest may have been appended after the record that ends in end. rest begins at off,
// right after that record. In a reused file the result is certain only up to the end of off's block, which was padded with
// zeros when the record was written. Beyond that block, unsynced looks for record headers that could continue the log. What
// is left of the file's earlier life has earlier positions, because only pruned segments are overwritten; but clients'
// values may look like anything, so this part is a guess.
func (h *segmentHeader) unsynced(rest []byte, off int64, end replication.Mark) (n int) {
	if !h.reused {
		return len(bytes.TrimRight(rest, "\x00"))
	}
	n = len(bytes.TrimRight(rest[:min(roundUp(off)-off, int64(len(rest)))], "\x00"))
	rest = rest[:min(len(rest), guessMost)]
	for i := range indexes(rest, binary.LittleEndian.AppendUint16(nil, replication.RecordMagic)) {
		if len(rest)-i < replication.HeaderSize || rest[i+3] != 0 {
			continue // a cheap check before the thorough one
		}
		r, err := replication.DecodeHeader(rest[i:])
		if err != nil || r.Epoch < end.Epoch || r.First <= end.Position || uint64(r.First-end.Position-1) > uint64(i) {
			continue
		}
		n = max(n, i+min(r.Size(), len(rest)-i))
	}
	return n
}

// guessMost bounds in bytes how much of a reused file unsynced takes for appended.
const guessMost = 4 * mostUnwritten
