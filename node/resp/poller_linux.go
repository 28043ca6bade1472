package resp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller tells which sockets have input. It is an epoll instance that is waited for like a file, so that no thread is kept.
//
// A socket is told of once for what has arrived (edge-triggered), so that it costs no call to change what is waited for.
type poller struct {
	epoll, wake *os.File // wake is an eventfd
	raw         syscall.RawConn
	found       [128]syscall.EpollEvent
}

// atOnce bounds the calls of epoll_wait for one call of events.
const atOnce = 8

const (
	pollInput = syscall.EPOLLIN | syscall.EPOLLRDHUP | 1<<31 // EPOLLET, which syscall has as a negative number
	pollEnd   = syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR
	pollWake  = -1 // the eventfd's number; connections have theirs from 1 on
)

func newPoller() (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // or else a file does not wait for it
		_ = syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{epoll: os.NewFile(uintptr(fd), "epoll")}
	wake, _, errno := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		_ = p.epoll.Close()
		return nil, os.NewSyscallError("eventfd2", errno)
	}
	p.wake = os.NewFile(wake, "eventfd")
	p.raw, err = p.epoll.SyscallConn()
	if err == nil {
		err = p.control(syscall.EPOLL_CTL_ADD, int(wake), pollWake)
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("wait for epoll: %w", err)
	}
	return p, nil
}

// run calls f whenever something may have arrived, until close.
func (p *poller) run(f func()) {
	_ = p.raw.Read(func(uintptr) bool { f(); return false }) // ends with the file
}

func (p *poller) close() { _ = errors.Join(p.epoll.Close(), p.wake.Close()) }

// kick has run call f; from anywhere.
func (p *poller) kick() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1) // nobody reads what they add up to, which would block only at 1<<64
	_, _ = p.wake.Write(one[:])              // fails once it is closed
}

func (p *poller) control(op, fd int, id int64) (err error) {
	outer := p.raw.Control(func(epoll uintptr) {
		err = syscall.EpollCtl(int(epoll), op, fd, &syscall.EpollEvent{Events: pollInput, Fd: int32(id), Pad: int32(id >> 32)})
	})
	return errors.Join(outer, err)
}

// add begins to tell of c; what has arrived before, too. False: it cannot.
func (p *poller) add(c *conn) bool {
	ok := false
	err := c.raw.Control(func(fd uintptr) { ok = p.control(syscall.EPOLL_CTL_ADD, int(fd), c.id) == nil })
	return err == nil && ok
}

// remove ends that. A closed socket has removed itself.
func (p *poller) remove(c *conn) {
	_ = c.raw.Control(func(fd uintptr) { _ = p.control(syscall.EPOLL_CTL_DEL, int(fd), c.id) })
}

// events calls f for each connection on which something has arrived since; ended: that may have been its end. more: there may be more
// of them.
func (p *poller) events(f func(id int64, ended bool)) (more bool) {
	for range atOnce {
		n := p.look()
		for i := range n {
			e := &p.found[i]
			if id := int64(e.Pad)<<32 | int64(uint32(e.Fd)); id != pollWake {
				f(id, e.Events&pollEnd != 0)
			}
		}
		if n < len(p.found) {
			return false
		}
	}
	return true
}

func (p *poller) look() (n int) {
	_ = p.raw.Control(func(epoll uintptr) {
		for {
			var err error
			if n, err = syscall.EpollWait(int(epoll), p.found[:], 0); err != syscall.EINTR {
				return
			}
		}
	})
	return max(n, 0)
}

// holdBack has a socket keep what is not a whole segment until it is shut: TCP_CORK in tcp(7).
func holdBack(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, 1)
}

// hungUp tells whether the other side has closed the connection, or its half of it, whatever there is to be read before.
func hungUp(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents != 0
}
