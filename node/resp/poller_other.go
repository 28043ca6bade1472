//go:build !linux

package resp

import "errors"

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
