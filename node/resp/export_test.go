package resp

import "time"

// Disturb has every loop look for what is due.
func (s *Server) Disturb() {
	for _, l := range s.loops {
		l.poked.Store(true)
		l.poller.kick()
	}
}

// Nudge nudges every connection, whatever it does.
func (s *Server) Nudge() {
	for _, c := range s.clients.all() {
		c.nudge()
	}
}

// StopSlowly is how Shutdown begins, with time between that it stops and that it says so.
func (s *Server) StopSlowly(between func()) {
	s.stopping.Store(true)
	between()
	for _, c := range s.clients.all() {
		c.interrupt()
	}
}

// Parked counts the connections that loops have.
func (s *Server) Parked() (n int) {
	for _, c := range s.clients.all() {
		if c.parked.Load() {
			n++
		}
	}
	return n
}

// Busy counts the connections that a round of is in progress.
func (s *Server) Busy() (n int) {
	for _, c := range s.clients.all() {
		if c.busy.Load() {
			n++
		}
	}
	return n
}

// LeaveLater gives clients that are sent away so long to go on.
func (s *Server) LeaveLater(d time.Duration) { s.astrayWait.Store(int64(d)) }

// SameStore is sameStore.
var SameStore = sameStore

// Rationed is what long requests take.
func (s *Server) Rationed() int {
	s.ration.mu.Lock()
	defer s.ration.mu.Unlock()
	return s.ration.used
}

// Held is what long replies take that wait to be sent.
func (s *Server) Held() int {
	s.replies.mu.Lock()
	defer s.replies.mu.Unlock()
	return s.replies.used + s.replies.lent
}

// LeftInRound looks at a round that was given back: at how many arguments it has had place for, and how many of them it still keeps.
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
