package resp

import "time"

// Disturb makes every loop check for what is due.
func (s *Server) Disturb() {
	for _, l := range s.loops {
		l.poked.Store(true)
		l.poller.kick()
	}
}

// Nudge nudges every connection, whatever it is doing.
func (s *Server) Nudge() {
	for _, c := range s.clients.all() {
		c.nudge()
	}
}

// StopSlowly does the first steps of Shutdown, and calls between after it has set stopping, before it interrupts the connections.
func (s *Server) StopSlowly(between func()) {
	s.stopping.Store(true)
	between()
	for _, c := range s.clients.all() {
		c.interrupt()
	}
}

// Parked returns the number of connections that are in loops.
func (s *Server) Parked() (n int) {
	for _, c := range s.clients.all() {
		if c.parked.Load() {
			n++
		}
	}
	return n
}

// Busy returns the number of connections that have a round in progress.
func (s *Server) Busy() (n int) {
	for _, c := range s.clients.all() {
		if c.busy.Load() {
			n++
		}
	}
	return n
}

// LeaveLater sets for how long clients that are sent away may go on.
func (s *Server) LeaveLater(d time.Duration) { s.astrayWait.Store(int64(d)) }

// AwaitLast sets for how long the last commands of clients are waited for.
func (s *Server) AwaitLast(d time.Duration) { s.lastWait.Store(int64(d)) }

// RestUpstreams sets how long clients may be silent before their connections to the leader are closed.
func (s *Server) RestUpstreams(d time.Duration) { s.upstreamRest.Store(int64(d)) }

// ReadAtMost sets how many bytes of values a transaction may read.
func (s *Server) ReadAtMost(n int) { s.mostRead.Store(int64(n)) }

// SameStore exports sameStore.
var SameStore = sameStore

// Rationed returns how many bytes long requests take.
func (s *Server) Rationed() (n int) {
	s.ration.mu.Lock()
	defer s.ration.mu.Unlock()
	for _, p := range s.ration.parts {
		n += p.n
	}
	return n
}

// Counted is like Rationed, but without what is lent.
func (s *Server) Counted() int {
	s.ration.mu.Lock()
	defer s.ration.mu.Unlock()
	return s.ration.used + s.ration.aside
}

// Queued returns how many connections wait for memory, and how many have ended.
func (s *Server) Queued() (waiting, ended int) {
	all := s.clients.all()
	for _, c := range all {
		if c.queued.Load() {
			waiting++
		}
	}
	return waiting, int(s.stats.accepted.Load()) - len(all)
}

// Held returns how many bytes long replies that wait to be sent take.
func (s *Server) Held() int {
	s.replies.mu.Lock()
	defer s.replies.mu.Unlock()
	return s.replies.used + s.replies.lent
}

// Replies returns how many bytes long replies that wait to be sent take, including the one that may be longer than its share, and how many
// more clients wait for their turn.
func (s *Server) Replies() (held, waiting int) {
	s.replies.mu.Lock()
	defer s.replies.mu.Unlock()
	for _, p := range s.replies.parts {
		held += p.n
	}
	return held, len(s.replies.queue)
}

// LeftInRound inspects a round that was given back. It returns how many arguments the round has room for, and how many references to arguments
// it still keeps.
func LeftInRound() (places, kept int) {
	r := rounds.Get().(*round)
	defer rounds.Put(r)
	for _, arg := range r.arena[:cap(r.arena)] {
		if places++; arg != nil {
			kept++
		}
	}
	for _, j := range r.jobs[:cap(r.jobs)] {
		if j.args != nil {
			kept++
		}
	}
	return places, kept
}
