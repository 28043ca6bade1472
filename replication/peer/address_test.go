package peer

import (
	"net"
	"testing"
)

type remote struct {
	net.Conn
	addr net.Addr
}

func (r remote) RemoteAddr() net.Addr { return r.addr }

// A member whose port listens on all addresses does not know the one by which others reach it; its connection does.
func TestAddressOfAFollower(t *testing.T) {
	over := func(ip string) net.Conn { return remote{addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: 50123}} }
	for _, tc := range []struct {
		said string
		conn net.Conn
		want string
	}{
		{":6380", over("10.0.0.7"), "10.0.0.7:6380"},
		{":6380", over("fd00::7"), "[fd00::7]:6380"},
		{"10.0.0.9:6380", over("10.0.0.7"), "10.0.0.9:6380"},
		{"", over("10.0.0.7"), ""},
		{":6380", remote{addr: &net.UnixAddr{}}, ""},
	} {
		if got := reachable(tc.said, tc.conn); got != tc.want {
			t.Errorf("%q over a connection from %v is %q, want %q", tc.said, tc.conn.RemoteAddr(), got, tc.want)
		}
	}
}
