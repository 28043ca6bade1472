//go:build !linux

package resp

import (
	"errors"
	"syscall"
)

// poller is for Linux only; see poller_linux.go.
type poller struct{}

func newPoller() (*poller, error) { return nil, errors.ErrUnsupported }

func (*poller) run(func())                    {}
func (*poller) close()                        {}
func (*poller) kick()                         {}
func (*poller) add(*conn) bool                { return false }
func (*poller) remove(*conn)                  {}
func (*poller) events(func(int64, bool)) bool { return false }

func holdBack(uintptr) {}

// hungUp misses a client that has sent something before.
func hungUp(fd uintptr) bool {
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
	return n == 0 && err == nil || err == syscall.ECONNRESET
}
