package sim

import (
	"fmt"
	"iter"
	"runtime/debug"
	"slices"
	"time"
)

// Proc is a coroutine: blocking code that runs between the events of its Loop. It yields only in Sleep and Wait, so everything
// between two such calls is atomic in the world.
type Proc struct {
	Name string
	// Done fires when the Proc has ended, for whatever reason.
	Done Signal

	loop    *Loop
	process *Process
	f       func(*Proc)
	next    func() (struct{}, bool)
	stop    func()
	yield   func(struct{}) bool

	index     int // in loop.procs
	member    int // in process.procs
	running   bool
	killed    bool
	ended     bool
	signalled bool
	timer     Timer // its start, the end of a Sleep, a Signal, or the timeout of a Wait
}

// unwind is the value of the panic that ends a killed Proc.
type unwind struct{}

// Go runs f as a Proc, once everything that is due now has run.
func (l *Loop) Go(name string, f func(*Proc)) *Proc { return l.start(nil, name, f) }

func (l *Loop) start(of *Process, name string, f func(*Proc)) *Proc {
	p := &Proc{Name: name, loop: l, process: of, f: f}
	p.timer = Timer{loop: l, proc: p, owner: of, index: unqueued}
	if l.closed || of != nil && of.dead {
		p.ended = true
		p.Done.Latch()
		return p
	}
	p.index = len(l.procs)
	l.procs = append(l.procs, p)
	if of != nil {
		p.member = len(of.procs)
		of.procs = append(of.procs, p)
	}
	l.arm(&p.timer, 0)
	return p
}

// Loop returns the Proc's Loop.
func (p *Proc) Loop() *Loop { return p.loop }

// Process returns the process that the Proc belongs to, or nil if it belongs to the world itself.
func (p *Proc) Process() *Process { return p.process }

// Ended reports whether the Proc has returned or was killed.
func (p *Proc) Ended() bool { return p.ended }

// Sleep waits for d of true time.
func (p *Proc) Sleep(d time.Duration) {
	p.check()
	p.loop.arm(&p.timer, d)
	p.park()
}

// Wait waits until s fires, for at most timeout (forever if negative), and reports whether it fired.
func (p *Proc) Wait(s *Signal, timeout time.Duration) bool {
	p.check()
	if s.latched {
		return true
	}
	p.signalled = false
	s.waiters = append(s.waiters, p)
	if timeout >= 0 {
		p.loop.arm(&p.timer, timeout)
	}
	defer s.leave(p)
	p.park()
	return p.signalled
}

func (p *Proc) check() {
	if p.loop.current != p {
		panic(fmt.Sprintf("sim: %s waits while another runs", p.Name))
	}
	if p.killed {
		panic(unwind{})
	}
}

// park yields until the Proc's timer resumes it.
func (p *Proc) park() {
	p.running = false
	alive := p.yield(struct{}{})
	p.running = true
	if !alive || p.killed {
		panic(unwind{})
	}
}

// Kill ends the Proc: its Sleep or Wait never returns, and its deferred calls run before Kill returns. If a Proc kills itself, Kill
// does not return. A Proc that has not begun never runs.
func (p *Proc) Kill() {
	switch {
	case p.ended:
	case p.running:
		p.killed = true // a Proc that is not the current one ends when it would next wait
		if p.loop.current == p {
			panic(unwind{})
		}
	case p.killed:
	case p.next == nil:
		p.killed = true
		p.finish()
	default:
		p.killed = true
		was := p.loop.current
		p.loop.current = p
		p.stop()
		p.loop.current = was
		p.finish()
	}
}

// resume runs p until it waits or ends.
func (l *Loop) resume(p *Proc) {
	if p.ended {
		return
	}
	if p.next == nil {
		p.next, p.stop = iter.Pull(p.body)
	}
	was := l.current
	l.current = p
	_, waits := p.next()
	l.current = was
	if !waits {
		p.finish()
	}
}

func (p *Proc) body(yield func(struct{}) bool) {
	p.yield, p.running = yield, true
	defer func() {
		p.running = false
		switch r := recover().(type) {
		case nil, unwind:
		default:
			panic(fmt.Sprintf("sim: %s at %v: %v\n%s", p.Name, p.loop.now, r, debug.Stack()))
		}
	}()
	p.f(p)
}

// finish removes an ended Proc from the world.
func (p *Proc) finish() {
	if p.ended {
		return
	}
	p.ended = true
	p.timer.Stop()
	l := p.loop
	last := l.procs[len(l.procs)-1]
	l.procs[p.index], last.index = last, p.index
	l.procs = l.procs[:len(l.procs)-1]
	if of := p.process; of != nil {
		last := of.procs[len(of.procs)-1]
		of.procs[p.member], last.member = last, p.member
		of.procs = of.procs[:len(of.procs)-1]
	}
	p.Done.Latch()
}

// Signal wakes Procs. The zero value is ready for use.
type Signal struct {
	waiters []*Proc
	latched bool
}

// Fire wakes every Proc that waits now, each with its own event.
func (s *Signal) Fire() {
	for _, p := range s.waiters {
		p.signalled = true
		if p.timer.index != withheld { // a withheld Proc is woken anyway once its process runs again
			p.timer.Stop()
			p.loop.arm(&p.timer, 0)
		}
	}
	s.waiters = s.waiters[:0]
}

// Latch fires permanently: later calls of Wait do not block.
func (s *Signal) Latch() {
	s.latched = true
	s.Fire()
}

func (s *Signal) leave(p *Proc) {
	if i := slices.Index(s.waiters, p); i >= 0 {
		s.waiters = slices.Delete(s.waiters, i, i+1)
	}
}

// Process is the unit that starts, freezes and dies on a host: a set of Procs and timers.
type Process struct {
	Name string

	loop     *Loop
	procs    []*Proc
	frozen   bool
	dead     bool
	withheld []*Timer
	exits    []func()
}

// NewProcess returns a live process with nothing in it.
func (l *Loop) NewProcess(name string) *Process { return &Process{Name: name, loop: l, dead: l.closed} }

// Go starts a Proc that dies with the process.
func (o *Process) Go(name string, f func(*Proc)) *Proc { return o.loop.start(o, name, f) }

// After is Loop.After, limited to the life of the process.
func (o *Process) After(d time.Duration, f func()) *Timer { return o.loop.after(o, d, f) }

// OnExit arranges for f to be called once when the process dies, after its Procs have ended.
func (o *Process) OnExit(f func()) { o.exits = append(o.exits, f) }

// Dead reports whether the process was killed.
func (o *Process) Dead() bool { return o.dead }

// Frozen reports whether the process is frozen.
func (o *Process) Frozen() bool { return o.frozen }

// Freeze stops everything in the process until Thaw; what becomes due meanwhile runs then. A running Proc continues until it
// waits.
func (o *Process) Freeze() { o.frozen = true }

// Thaw ends Freeze.
func (o *Process) Thaw() {
	o.frozen = false
	due := o.withheld
	o.withheld = nil
	for _, t := range due {
		t.index = unqueued
		o.loop.arm(t, 0)
	}
}

func (o *Process) release(t *Timer) {
	o.withheld = slices.DeleteFunc(o.withheld, func(w *Timer) bool { return w == t })
}

// Kill ends the process. If a Proc of the process calls it, Kill does not return.
func (o *Process) Kill() {
	if o.dead {
		return
	}
	o.dead = true
	var self *Proc
	for _, p := range slices.Clone(o.procs) {
		if p == o.loop.current {
			self = p
			continue
		}
		p.Kill()
	}
	o.withheld = nil
	for _, f := range o.exits {
		f()
	}
	o.exits = nil
	if self != nil {
		self.Kill()
	}
}
