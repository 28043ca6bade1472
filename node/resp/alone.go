package resp

import "time"

// leastAlone is the least time for which a leader must have heard from too few followers before it refuses writes. It is long enough to
// ride out short interruptions.
const leastAlone = 3 * time.Second

// alone returns the error reply to a job that writes on a leader that has been without enough followers to commit anything for as long as
// a write may wait for its commit, or "" otherwise. Such a write would only end with an unknown outcome.
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

// tooLongAlone returns the value of Backend.Unheard from which on waiting for a commit or for a leader is considered hopeless.
func (s *Server) tooLongAlone() time.Duration {
	return max(leastAlone, time.Duration(s.commitTimeout.Load()))
}

// unheard returns Backend.Unheard, and whether that is too long.
func (s *Server) unheard() (d time.Duration, long bool) {
	d = s.backend.Unheard()
	return d, d >= s.tooLongAlone()
}

// defaultAstrayWait is how long a client that is sent away may go on: a client that writes a long pipeline gets to its end, and one that
// sends a command at a time is sent away after a reply.
const defaultAstrayWait = time.Second

// goAstray marks the connection to be closed once everything is answered, so that the client reconnects. It is called when the leader is
// alone or has not been heard for long: the leader may have been replaced, and be cut off together with this member from everybody who
// could tell, so a new connection may find another leader. Only connections older than tooLongAlone are closed, so that a client is sent
// away once in that time, not with each command. Connections from other members stay open: those send their clients away themselves.
func (r *round) goAstray() {
	r.astray = r.astray || !r.conn.forwarded && r.started.Sub(r.conn.created) >= r.srv.tooLongAlone()
}

// gaveUp reports whether the next command should not wait: earlier commands on this connection waited in vain, and nothing has improved
// since.
func (r *round) gaveUp() bool {
	if !r.leaderless && !r.astray && r.conn.leaveAt.IsZero() {
		return false
	}
	_, long := r.srv.unheard()
	return long
}

// refusedRead returns the error reply to a read that the gate refused with text. If this member is a leader that is alone, another member
// may answer the read, so the client is sent away.
func (r *round) refusedRead(text string) string {
	if d, long := r.srv.unheard(); long && text == errMasterDown && r.seq != nil {
		r.goAstray()
		return readsAlone(d)
	}
	return text
}
