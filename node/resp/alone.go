package resp

import "time"

// leastAlone is for how long a leader hears too few followers before it refuses writes, at the least: longer than moments do.
const leastAlone = 3 * time.Second

// alone returns the error reply of a job that writes while nothing has been committed for as long as a write may wait to be, for want
// of followers: it would only end as of unknown outcome, too. "" otherwise.
func (r *round) alone(j *job) string {
	t := r.conn.multi
	if r.seq == nil || !j.cmd.has(flagWrite) && !(t != nil && t.writes && j.cmd.name == "exec") {
		return ""
	}
	if d, long := r.srv.unheard(); long {
		return noReplicas(d)
	}
	return ""
}

func (s *Server) tooLongAlone() time.Duration {
	return max(leastAlone, time.Duration(s.commitTimeout.Load()))
}

// unheard is the backend's Unheard, and whether that is too long.
func (s *Server) unheard() (d time.Duration, long bool) {
	d = s.backend.Unheard()
	return d, d >= s.tooLongAlone()
}

// defaultAstrayWait is for how long a client that is sent away may go on: whoever writes a long pipeline gets to its end, and whoever asks one
// thing after the other is sent away after a reply.
const defaultAstrayWait = time.Second

// goAstray sends the client away if its connection, whose leader is alone or has long not been heard, is so old that a new one may find
// another leader: this one may have been replaced, and cut off together with this member from whoever could tell it. A client is sent
// away once in that time, not with each command. Who forwards does it for its clients.
func (r *round) goAstray() {
	r.astray = r.astray || !r.conn.forwarded && r.started.Sub(r.conn.created) >= r.srv.tooLongAlone()
}

// gaveUp reports whether waiting is over for what is asked next: commands before it on this connection waited in vain, and there is no
// more hope now than there was then.
func (r *round) gaveUp() bool {
	if !r.leaderless && !r.astray && r.conn.leaveAt.IsZero() {
		return false
	}
	_, long := r.srv.unheard()
	return long
}

// refusedRead words why the gate refused a read. By a leader that is alone, somebody else may answer it.
func (r *round) refusedRead(text string) string {
	if d, long := r.srv.unheard(); long && text == errMasterDown && r.seq != nil {
		r.goAstray()
		return readsAlone(d)
	}
	return text
}
