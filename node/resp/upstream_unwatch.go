package resp

import "time"

// unwatch ends the watches of the client's session at the leader. It does not wait for the reply, which settle reads
// before the next command.
func (u *upstream) unwatch(deadline time.Time) (sent bool) {
	if !u.settle(deadline) || u.nc.SetDeadline(deadline) != nil {
		return false
	}
	_, err := u.nc.Write([]byte("*1\r\n$7\r\nUNWATCH\r\n"))
	u.owes = err == nil
	return u.owes
}

// settle reads the reply to an UNWATCH if one is outstanding, and reports whether the upstream can still be used.
func (u *upstream) settle(deadline time.Time) bool {
	if !u.owes {
		return true
	}
	u.owes = false
	if u.nc.SetDeadline(deadline) != nil {
		return false
	}
	reply, err := copyReply(nil, u.in, 1<<20, func(int) {})
	return err == nil && reply[0] == '+'
}
