package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Loop runs one world: its events, one after the other in the order of virtual time, on the calling goroutine. All randomness
// comes from Rand, so a seed determines the course of events. A Loop must not be used from another goroutine.
type Loop struct {
	// Rand is the world's only source of randomness.
	Rand *rand.Rand

	now     time.Duration
	seq     uint64
	heap    []*Timer
	hash    uint64
	events  uint64
	current *Proc
	procs   []*Proc // live ones, each at its own index
	closed  bool
	lines   []line // ring of the newest maxLines
	logged  int
}

// maxLines is the number of log lines that are kept.
const maxLines = 400

// line is a log line. It is formatted only when somebody reads it.
type line struct {
	at     time.Duration
	format string
	args   []any
}

// NewLoop returns the loop of a seed, at virtual time 0.
func NewLoop(seed uint64) *Loop {
	return &Loop{Rand: rand.New(rand.NewPCG(seed, 0x51ed270b)), hash: 14695981039346656037, lines: make([]line, 0, maxLines)}
}

// Now returns the true time since the world began, which no host knows.
func (l *Loop) Now() time.Duration { return l.now }

// Events returns the number of events that have run.
func (l *Loop) Events() uint64 { return l.events }

// Hash returns a hash of the course of events so far. Two runs of the same seed have the same hash.
func (l *Loop) Hash() uint64 { return l.hash }

// Note mixes v into Hash.
func (l *Loop) Note(v uint64) {
	h := (l.hash ^ v) * 0x9e3779b97f4a7c15
	l.hash = h ^ h>>29
}

// Chance returns true with probability p.
func (l *Loop) Chance(p float64) bool { return p > 0 && l.Rand.Float64() < p }

// Between returns a random duration in [from, to), or from if that interval is empty.
func (l *Loop) Between(from, to time.Duration) time.Duration {
	if to <= from {
		return from
	}
	return from + time.Duration(l.Rand.Int64N(int64(to-from)))
}

// Logf keeps a line for Tail. Its arguments are formatted only when Tail is called, so none of them may change later.
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

// Tail returns the newest log lines, with the virtual time in seconds.
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

// Timer is one pending event.
type Timer struct {
	loop  *Loop
	at    time.Duration
	seq   uint64
	index int // in the heap, or unqueued or withheld
	f     func()
	proc  *Proc    // to resume, if f is nil
	owner *Process // nil: the world's own
}

const (
	unqueued = -1
	withheld = -2 // due while its owner was frozen
)

// After runs f after d of true time. If d is 0 or less, f runs once everything that is due already has run.
func (l *Loop) After(d time.Duration, f func()) *Timer { return l.after(nil, d, f) }

func (l *Loop) after(owner *Process, d time.Duration, f func()) *Timer {
	t := &Timer{loop: l, f: f, owner: owner, index: unqueued}
	l.arm(t, d)
	return t
}

// Stop cancels the event. It returns false if the event has run or was stopped before.
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

// Step runs the next event. It returns false if there is none.
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

// Run runs everything that is due by until, and advances the time to until.
func (l *Loop) Run(until time.Duration) {
	for len(l.heap) > 0 && l.heap[0].at <= until {
		l.Step()
	}
	l.now = max(l.now, until)
}

// RunUntil runs events until done returns true, which it calls after every event, or until none is left before the limit. It
// returns whether done returned true.
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

// Close kills every Proc, so that the world leaves nothing behind. Procs that their deferred calls start never run.
func (l *Loop) Close() {
	l.closed = true
	for len(l.procs) > 0 {
		p := l.procs[len(l.procs)-1]
		p.Kill()
	}
	clear(l.heap)
	l.heap = nil
}

// The heap is a binary heap, ordered by time and then by the order of queueing. Each Timer knows its index.

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
