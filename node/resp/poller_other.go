//go:build !linux

package resp

import (
	"errors"
	"syscall"
)

// poller exists only on Linux; see poller_linux.go. Elsewhere newPoller fails, and every connection has a goroutine.
type poller struct{}

func newPoller() (*poller, error) { return nil, errors.ErrUnsupported }

func (*poller) run(func())                    {}
func (*poller) close()                        {}
func (*poller) kick()                         {}
func (*poller) add(*conn) bool                { return false }
func (*poller) remove(*conn)                  {}
func (*poller) events(func(int64, bool)) bool { return false }

func holdBack(uintptr) {}

// hungUp reports whether the peer has closed the connection. Unlike on Linux, it does not notice that while there is input to be read.
func hungUp(fd uintptr) bool {
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
	return n == 0 && err == nil || err == syscall.ECONNRESET
}
