package sim

import (
	"maps"
	"slices"
	"time"
)

// streams stands for the status streams of nodeclient.Watcher, which only tell the operator when to look. Whether a stream breaks,
// goes silent or begins is found by looking at the member's host. The member itself reports internal changes (Changed).
type streams struct {
	addrs map[string]string // of members, by name
	heard map[string]*stream
}

type stream struct {
	process *Process // the process at the other end; nil: no stream
	silent  time.Duration
	heardAt time.Time // on the operator's clock; zero: never
}

// heardAt returns when the stream of a host last delivered something.
func (s *streams) heardAt(host string) time.Time {
	if h := s.heard[host]; h != nil {
		return h.heardAt
	}
	return time.Time{}
}

// streamLook is the interval at which streams are checked.
const streamLook = 100 * time.Millisecond

func (s *streams) set(addrs map[string]string) { s.addrs = addrs }

// watchStreams checks the members' hosts for as long as the process lives.
func (o *Operator) watchStreams() {
	o.streams.heard = map[string]*stream{}
	var look func()
	look = func() {
		for _, name := range slices.Sorted(maps.Keys(o.streams.addrs)) {
			o.lookAt(o.streams.addrs[name])
		}
		o.process.After(streamLook, look)
	}
	o.process.After(streamLook, look)
}

func (o *Operator) lookAt(addr string) {
	s := o.streams.heard[addr]
	if s == nil {
		s = &stream{}
		o.streams.heard[addr] = s
	}
	h := o.net.Host(addr)
	switch {
	case !o.net.open(h, o.host), h.process != nil && h.process == s.process && h.process.frozen:
		before := s.silent
		s.silent += streamLook
		if s.process != nil && before < o.Timeouts.Quiet && s.silent >= o.Timeouts.Quiet {
			o.wake()
		}
		if s.process != nil && s.silent >= o.Timeouts.Silence {
			s.process = nil
			o.wake()
		}
	case h.process != s.process:
		s.process, s.silent = h.process, 0
		o.wake()
	default:
		s.silent = 0
	}
	if s.process != nil && s.silent == 0 {
		s.heardAt = o.now()
	}
}

// Changed tells the operator that something changed in a member which a decision may depend on. The news travels over the status
// stream, if there is one.
func (o *Operator) Changed(host string) {
	if o.process.dead {
		return
	}
	h := o.net.Host(host)
	o.process.After(o.net.delay(), func() {
		if s := o.streams.heard[h.Name]; s != nil && s.process != nil && o.net.open(h, o.host) {
			o.wake()
		}
	})
}
