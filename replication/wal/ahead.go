package wal

// need is what Append of records of size bytes together asks for.
type need struct {
	s *segment
	// file is the least size of the next segment's file, size what it is to have; 0: the last segment has room for the records.
	file, size int64
	unsettled  bool
}

func (l *Log) need(size int) need {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := need{s: l.active(), unsettled: l.unsettled}
	// A segment without records grows instead.
	if n.s.end.Position > n.s.base() && n.s.size-n.s.off-2*noteSize < int64(size) {
		n.file, n.size = headerLength(len(l.epochs))+int64(size)+2*noteSize, l.sizeAfter(n.s)
	}
	return n
}

// Takes tells whether Append would take records of size bytes together without waiting for the disk.
func (l *Log) Takes(size int) bool {
	n := l.need(size)
	return n.s.out.hasRoom(size) && (n.file == 0 || !n.unsettled && l.spare.has(n.file))
}

// Prepare does ahead, beside everything else, what Append of records of size bytes would have to wait for the disk for. What it cannot do
// is left to Append, which says why.
func (l *Log) Prepare(size int) {
	n := l.need(size)
	if n.file > 0 && n.unsettled {
		if _, err := l.Sync(); err != nil {
			return
		}
	}
	if !n.s.out.hasRoom(size) && l.relieve() != nil {
		return
	}
	if n.file > 0 && l.Err() == nil {
		l.spare.ensure(l.opt.Growth, n.size, n.file)
	}
}
