package sim

import (
	"context"
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"
)

// Network errors, distinguished as nodeclient.Classify and the node's own dialler distinguish them.
var (
	// ErrTimeout: no answer arrived in time. The request may have taken effect, or may still do so.
	ErrTimeout = fmt.Errorf("sim: no answer in time: %w", context.DeadlineExceeded)
	// ErrRefused: the host is up, but nothing listens.
	ErrRefused = fmt.Errorf("sim: %w", syscall.ECONNREFUSED)
	// ErrReset: the connection broke. The request may have taken effect.
	ErrReset = fmt.Errorf("sim: %w", syscall.ECONNRESET)
)

// Profile is the quality of the network. Delays are one-way.
type Profile struct {
	// Min and Max bound the ordinary delay of a packet.
	Min, Max time.Duration
	// Tail is the share of packets that take up to TailMax. Loss is the share of packets that are lost: a stream retransmits them
	// after 200 ms, while a packet of a call is gone or arrives late (see Net.Late).
	Tail    float64
	TailMax time.Duration
	Loss    float64
}

// Calm returns the profile of a network without trouble of its own.
func Calm() Profile { return Profile{Min: 200 * time.Microsecond, Max: 2 * time.Millisecond} }

// Rough returns the profile of a network in which some packets take seconds and some are lost.
func Rough() Profile {
	return Profile{Min: 200 * time.Microsecond, Max: 5 * time.Millisecond, Tail: 0.005, TailMax: 3 * time.Second, Loss: 0.005}
}

// retransmit is how long a stream takes to notice a lost packet and send it again.
const retransmit = 200 * time.Millisecond

// Net connects hosts. Messages are passed by reference: neither sender nor receiver may change one after it was sent.
type Net struct {
	Profile Profile
	// Late is the share of calls' packets that do not vanish when they meet a cut, a loss or an absent host, but arrive up to
	// maxLate afterwards, like a retransmission by the caller's kernel. Twice is the share of requests that arrive a second time,
	// up to maxTwice after the first, like a retry by a proxy in between.
	Late, Twice float64
	// StreamRate limits what Conn.Stream sends, in bytes per second.
	StreamRate int

	loop    *Loop
	hosts   map[string]*Host
	cuts    map[way]struct{}
	slow    map[way]time.Duration
	stalled []*pipe
}

type way struct{ from, to *Host }

const (
	maxLate  = 8 * time.Second
	maxTwice = 10 * time.Second
)

// NewNet returns a calm network without hosts.
func (l *Loop) NewNet() *Net {
	return &Net{
		Profile: Calm(), Late: 0.3, Twice: 0.01, StreamRate: 1 << 20,
		loop: l, hosts: map[string]*Host{}, cuts: map[way]struct{}{}, slow: map[way]time.Duration{},
	}
}

// Host is an address. It is up from the start, but has no process until Boot.
type Host struct {
	Name  string
	Clock *Clock

	net     *Net
	process *Process
	gone    bool
	// If deaf, operators' orders vanish; if shut, whatever an operator sends is refused. See Operator.call.
	deaf, shut bool
	listen     func(*Conn)
	conns      []*Conn // open ends, each at its own index
}

// Host returns the host with that name or host:port. It creates the host, with its own clock, at the first use.
func (n *Net) Host(name string) *Host {
	h := n.hosts[name]
	if h == nil {
		if bare, _, err := net.SplitHostPort(name); err == nil {
			return n.Host(bare)
		}
		h = &Host{Name: name, net: n, Clock: n.loop.NewClock()}
		n.hosts[name] = h
	}
	return h
}

// Process returns the process that runs on the host, or nil if there is none.
func (h *Host) Process() *Process { return h.process }

// Boot starts a process on the host. It kills the previous one if that still runs.
func (h *Host) Boot(name string) *Process {
	h.Kill()
	p := h.net.loop.NewProcess(name)
	h.process = p
	p.OnExit(func() {
		if h.process == p {
			h.process, h.listen = nil, nil
		}
		for len(h.conns) > 0 {
			h.conns[len(h.conns)-1].abandon()
		}
	})
	return p
}

// Kill kills the host's process: its connections are reset, and new ones are refused.
func (h *Host) Kill() {
	if h.process != nil {
		h.process.Kill()
	}
}

// Listen passes each connection made to the host to accept, in the host's process, until that process dies.
func (h *Host) Listen(accept func(*Conn)) { h.listen = accept }

// SetGone takes the host off the network, or puts it back. Packets to and from such a host vanish, but its process keeps running.
func (h *Host) SetGone(gone bool) {
	h.gone = gone
	if !gone {
		h.net.resume()
	}
}

// SetDeaf makes operators' orders to the host vanish, or lets them arrive again.
func (h *Host) SetDeaf(deaf bool) { h.deaf = deaf }

// SetShut makes the host refuse operators as if its process were gone, or ends that.
func (h *Host) SetShut(shut bool) { h.shut = shut }

// Reset breaks every connection between two hosts, at both ends at once.
func (n *Net) Reset(a, b string) {
	for _, c := range slices.Clone(n.Host(a).conns) {
		if c.remote == n.Host(b) {
			c.peer.fail()
			c.fail()
		}
	}
}

// Cut drops everything that goes from one host to another, until it is healed.
func (n *Net) Cut(from, to string) {
	if a, b := n.Host(from), n.Host(to); a != b {
		n.cuts[way{a, b}] = struct{}{}
	}
}

// CutBoth drops everything between two hosts, in both directions.
func (n *Net) CutBoth(a, b string) {
	n.Cut(a, b)
	n.Cut(b, a)
}

// Slow delays what connections carry from one host to another by d; 0 ends that.
func (n *Net) Slow(from, to string, d time.Duration) { n.slow[way{n.Host(from), n.Host(to)}] = d }

// Heal ends the cut in one direction.
func (n *Net) Heal(from, to string) {
	delete(n.cuts, way{n.Host(from), n.Host(to)})
	n.resume()
}

// HealAll ends every cut. Hosts that are gone stay gone.
func (n *Net) HealAll() {
	clear(n.cuts)
	n.resume()
}

// Open reports whether packets get through in this direction.
func (n *Net) Open(from, to string) bool { return n.open(n.Host(from), n.Host(to)) }

func (n *Net) open(from, to *Host) bool {
	if from.gone || to.gone {
		return false
	}
	if len(n.cuts) == 0 {
		return true
	}
	_, cut := n.cuts[way{from, to}]
	return !cut
}

// delay returns the delay of one packet.
func (n *Net) delay() time.Duration {
	p := &n.Profile
	d := n.loop.Between(p.Min, p.Max)
	if n.loop.Chance(p.Tail) {
		d += n.loop.Between(0, p.TailMax)
	}
	return d
}

// send carries one packet of a call, and calls arrive on its arrival. The packet may vanish or arrive late.
func (n *Net) send(from, to *Host, arrive func()) {
	n.loop.After(n.delay(), func() {
		switch {
		case n.open(from, to) && !n.loop.Chance(n.Profile.Loss):
			arrive()
		case n.loop.Chance(n.Late):
			n.loop.After(n.loop.Between(0, maxLate), func() {
				if n.open(from, to) {
					arrive()
				}
			})
		}
	})
}

// exchange is one call from its caller's point of view.
type exchange struct {
	net      *Net
	from, to *Host
	caller   *Process
	handler  func(*Proc) (any, error)
	timer    *Timer
	done     func(any, error)
}

// Begin sends a request. It calls done in the process that runs on host from, with the answer or, after at most timeout, with one
// of this package's errors. done is not called once that process is dead. The handler runs on host to, in a Proc of the process
// there; see Call.
func (n *Net) Begin(from, to string, timeout time.Duration, handler func(*Proc) (any, error), done func(any, error)) {
	x := n.begin(from, to, timeout, handler, done)
	if n.loop.Chance(n.Twice) {
		n.loop.After(n.loop.Between(0, maxTwice), func() { n.send(x.from, x.to, x.arrive) })
	}
}

func (n *Net) begin(from, to string, timeout time.Duration, handler func(*Proc) (any, error), done func(any, error)) *exchange {
	x := &exchange{net: n, from: n.Host(from), to: n.Host(to), handler: handler, done: done}
	x.caller = x.from.process
	x.timer = n.loop.after(x.caller, timeout, func() { x.end(nil, ErrTimeout) })
	n.send(x.from, x.to, x.arrive)
	return x
}

func (x *exchange) arrive() {
	if x.to.process == nil {
		x.answer(nil, ErrRefused)
		return
	}
	x.to.process.Go("call", func(p *Proc) {
		finished := false
		defer func() {
			if !finished {
				x.answer(nil, ErrReset)
			}
		}()
		reply, err := x.handler(p)
		finished = true
		x.answer(reply, err)
	})
}

func (x *exchange) answer(reply any, err error) {
	if x.done == nil || x.to.gone {
		return
	}
	x.net.send(x.to, x.from, func() {
		if x.done != nil {
			x.timer.Stop()
			x.timer = x.net.loop.after(x.caller, 0, func() { x.end(reply, err) })
		}
	})
}

func (x *exchange) end(reply any, err error) {
	if done := x.done; done != nil {
		x.done = nil
		done(reply, err)
	}
}

// Call sends a request and waits for its answer, like HTTP on a connection of its own. The handler runs on host to, in its own
// Proc, which dies with the process there. A timeout does not stop the handler. The request may arrive after the timeout, and
// sometimes arrives twice. An error that is not one of this package's comes from the handler.
func (n *Net) Call(p *Proc, from, to string, timeout time.Duration, handler func(*Proc) (any, error)) (any, error) {
	var r result
	n.Begin(from, to, timeout, handler, r.set)
	return r.wait(p)
}

// CallOnce is Call for a request that never arrives twice, as on a client's connection: a caller that is refused can rely on the
// request having no effect.
func (n *Net) CallOnce(p *Proc, from, to string, timeout time.Duration, handler func(*Proc) (any, error)) (any, error) {
	var r result
	n.begin(from, to, timeout, handler, r.set)
	return r.wait(p)
}

// result is an answer that somebody waits for.
type result struct {
	reply any
	err   error
	ended bool
	end   Signal
}

func (r *result) set(reply any, err error) {
	r.reply, r.err, r.ended = reply, err, true
	r.end.Fire()
}

func (r *result) wait(p *Proc) (any, error) {
	for !r.ended {
		p.Wait(&r.end, -1)
	}
	return r.reply, r.err
}

// resume continues the pipes that waited for a direction that is open again.
func (n *Net) resume() {
	waiting := n.stalled
	n.stalled = nil
	for _, p := range waiting {
		if n.open(p.from.local, p.from.remote) {
			p.stalled = false
			p.schedule(n.loop.Between(0, retransmit))
		} else {
			n.stalled = append(n.stalled, p)
		}
	}
}
