package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Loop runs one world: events in the order of virtual time, one after the other, on the calling goroutine. Everything random
// comes from Rand, so that one seed means one course of events. Nothing here may be used from another goroutine.
type Loop struct {
	// Rand is the world's only source of chance.
	Rand *rand.Rand

	now     time.Duration
	seq     uint64
	heap    []*Timer
	hash    uint64
	events  uint64
	current *Proc
	procs   []*Proc // live ones, each at its index
	closed  bool
	lines   []line // ring of the newest maxLines
	logged  int
}

// maxLines is how many log lines are kept.
const maxLines = 400

// line is a log line that is formatted only if somebody reads it.
type line struct {
	at     time.Duration
	format string
	args   []any
}

// NewLoop returns the world of a seed, at virtual time 0.
func NewLoop(seed uint64) *Loop {
	return &Loop{Rand: rand.New(rand.NewPCG(seed, 0x51ed270b)), hash: 14695981039346656037, lines: make([]line, 0, maxLines)}
}

// Now is the true time since the world began; no host knows it.
func (l *Loop) Now() time.Duration { return l.now }

// Events is how many events have run.
func (l *Loop) Events() uint64 { return l.events }

// Hash sums up the course of events so far. Two runs of one seed have the same.
func (l *Loop) Hash() uint64 { return l.hash }

// Note makes v a part of Hash.
func (l *Loop) Note(v uint64) {
	h := (l.hash ^ v) * 0x9e3779b97f4a7c15
	l.hash = h ^ h>>29
}

// Chance is true with probability p.
func (l *Loop) Chance(p float64) bool { return p > 0 && l.Rand.Float64() < p }

// Between is a duration in [from, to), or from where that is empty.
func (l *Loop) Between(from, to time.Duration) time.Duration {
	if to <= from {
		return from
	}
	return from + time.Duration(l.Rand.Int64N(int64(to-from)))
}

// Logf keeps a line for Tail. The arguments are formatted only when the tail is read: pass no value that will change.
func (l *Loop) Logf(format string, args ...any) {
	for i := range len(format) {
		l.hash = (l.hash ^ uint64(format[i])) * 1099511628211
	}
	next := line{l.now, format, args}
	if len(l.lines) < maxLines {
		l.lines = append(l.lines, next)
	} else {
		l.lines[l.logged%maxLines] = next
	}
	l.logged++
}

// Tail is the newest log lines, with virtual time in seconds.
func (l *Loop) Tail() string {
	var b strings.Builder
	for i := max(0, l.logged-maxLines); i < l.logged; i++ {
		at := l.lines[i%maxLines]
		fmt.Fprintf(&b, "%10.4fs ", at.at.Seconds())
		fmt.Fprintf(&b, at.format, at.args...)
		b.WriteByte('\n')
	}
	return b.String()
}

// Timer is one event to come.
type Timer struct {
	loop  *Loop
	at    time.Duration
	seq   uint64
	index int // in the heap, or unqueued or withheld
	f     func()
	proc  *Proc    // resumed, where there is no f
	owner *Process // nil: the world's own
}

const (
	unqueued = -1
	withheld = -2 // due while its owner was frozen
)

// After runs f in d of true time; d of 0 or less is as soon as everything that is due already has run.
func (l *Loop) After(d time.Duration, f func()) *Timer { return l.after(nil, d, f) }

func (l *Loop) after(owner *Process, d time.Duration, f func()) *Timer {
	t := &Timer{loop: l, f: f, owner: owner, index: unqueued}
	l.arm(t, d)
	return t
}

// Stop takes the event back; false when it has run or was stopped already.
func (t *Timer) Stop() bool {
	switch {
	case t.index >= 0:
		t.loop.remove(t.index)
	case t.index == withheld:
		t.owner.release(t)
	default:
		return false
	}
	t.index = unqueued
	return true
}

// arm queues t, which must not be queued.
func (l *Loop) arm(t *Timer, d time.Duration) {
	l.seq++
	t.at, t.seq = l.now+max(d, 0), l.seq
	t.index = len(l.heap)
	l.heap = append(l.heap, t)
	l.up(t.index)
}

// Step runs the next event; false when there is none.
func (l *Loop) Step() bool {
	if len(l.heap) == 0 {
		return false
	}
	t := l.heap[0]
	l.remove(0)
	t.index = unqueued
	l.now = t.at
	l.events++
	l.Note(uint64(t.at))
	if o := t.owner; o != nil {
		if o.dead {
			return true
		}
		if o.frozen {
			t.index = withheld
			o.withheld = append(o.withheld, t)
			return true
		}
	}
	if t.f != nil {
		t.f()
	} else {
		l.resume(t.proc)
	}
	return true
}

// Run runs everything that is due until then, and ends at that time.
func (l *Loop) Run(until time.Duration) {
	for len(l.heap) > 0 && l.heap[0].at <= until {
		l.Step()
	}
	l.now = max(l.now, until)
}

// RunUntil runs events until done, which it asks after every one, or until there is none before the limit. It returns
// whether it is done.
func (l *Loop) RunUntil(done func() bool, limit time.Duration) bool {
	for !done() {
		if len(l.heap) == 0 || l.heap[0].at > limit {
			l.now = max(l.now, limit)
			return false
		}
		l.Step()
	}
	return true
}

// Close kills every Proc, so that a world leaves nothing behind. Procs started by what is deferred in them never run.
func (l *Loop) Close() {
	l.closed = true
	for len(l.procs) > 0 {
		p := l.procs[len(l.procs)-1]
		p.Kill()
	}
	clear(l.heap)
	l.heap = nil
}

// The heap is binary, ordered by time and then by the order in which events were queued. Each Timer knows its index.

func (t *Timer) before(o *Timer) bool { return t.at < o.at || t.at == o.at && t.seq < o.seq }

func (l *Loop) up(i int) {
	h, t := l.heap, l.heap[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !t.before(h[parent]) {
			break
		}
		h[i] = h[parent]
		h[i].index = i
		i = parent
	}
	h[i], t.index = t, i
}

func (l *Loop) down(i int) {
	h, t := l.heap, l.heap[i]
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].before(h[child]) {
			child++
		}
		if !h[child].before(t) {
			break
		}
		h[i] = h[child]
		h[i].index = i
		i = child
	}
	h[i], t.index = t, i
}

func (l *Loop) remove(i int) {
	last := len(l.heap) - 1
	moved := l.heap[last]
	l.heap[last] = nil
	l.heap = l.heap[:last]
	if i == last {
		return
	}
	l.heap[i] = moved
	l.up(i)
	l.down(moved.index)
}
