package resp

// Disturb has every loop look for what is due.
func (s *Server) Disturb() {
	for _, l := range s.loops {
		l.poked.Store(true)
		l.poller.kick()
	}
}
