package wal

// need is what must be there before records of size bytes in total can be appended without waiting.
type need struct {
	s *segment
	// grown is the size in bytes to which the last segment, which is empty, must grow. file is the least size of the next
	// segment's file, and size its intended size. All are 0 if the last segment has room.
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

// Takes reports whether Append would take records of size bytes in total without waiting for the disk.
func (l *Log) Takes(size int) bool {
	n := l.need(size)
	return n.grown == 0 && n.s.out.hasRoom(size) && (n.file == 0 || !n.unsettled && l.spare.has(n.file))
}

// Prepare does in advance the disk work that Append of records of size bytes in total would wait for. It may run
// concurrently with everything else. What it cannot do is left to Append, which reports the reason.
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

// growAhead grows the last segment if it is still empty. It blocks appends meanwhile.
func (l *Log) growAhead(size int) {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if n := l.need(size); n.grown > 0 && l.Err() == nil {
		_ = l.grow(n.s, n.grown, false) // Append would report the same error
	}
}
