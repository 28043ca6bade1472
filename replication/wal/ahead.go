package wal

// need is what Append of records of size bytes together asks for.
type need struct {
	s *segment
	// grown is what the last segment has to grow to, for it has no records, in bytes; file is the least size of the next segment's file, and
	// size what that is to have. 0: the last segment has room.
	grown, file, size int64
	unsettled         bool
}

func (l *Log) need(size int) need {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := need{s: l.active(), unsettled: l.unsettled}
	switch want := int64(size) + 2*noteSize; {
	case n.s.size-n.s.off >= want:
	case n.s.end.Position == n.s.base():
		n.grown = n.s.off + want
	default:
		n.file, n.size = headerLength(len(l.epochs))+want, l.sizeAfter(n.s)
	}
	return n
}

// Takes tells whether Append would take records of size bytes together without waiting for the disk.
func (l *Log) Takes(size int) bool {
	n := l.need(size)
	return n.grown == 0 && n.s.out.hasRoom(size) && (n.file == 0 || !n.unsettled && l.spare.has(n.file))
}

// Prepare does ahead, beside everything else, what Append of records of size bytes would have to wait for the disk for. What it cannot do
// is left to Append, which says why.
func (l *Log) Prepare(size int) {
	n := l.need(size)
	if n.grown > 0 {
		l.growAhead(size)
	}
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

// growAhead grows the last segment if it has no records still. Nothing is appended meanwhile.
func (l *Log) growAhead(size int) {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if n := l.need(size); n.grown > 0 && l.Err() == nil {
		_ = l.grow(n.s, n.grown, false) // after an error Append says why, too
	}
}
