package resp

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
)

// poller tells which sockets have input. It is an epoll instance that is waited for like a file, so that no thread is kept.
//
// A socket is told of once for what has arrived (edge-triggered), so that it costs no call to change what is waited for.
type poller struct {
	epoll *os.File
	raw   syscall.RawConn
	fd    int
	wake  int // an eventfd
	found [128]syscall.EpollEvent
}

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
	wake, _, errno := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		_ = syscall.Close(fd)
		return nil, os.NewSyscallError("eventfd2", errno)
	}
	p := &poller{fd: fd, wake: int(wake)}
	if err := p.open(); err != nil {
		_ = syscall.Close(fd)
		_ = syscall.Close(p.wake)
		return nil, err
	}
	return p, nil
}

func (p *poller) open() error {
	if err := p.control(syscall.EPOLL_CTL_ADD, p.wake, pollWake); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	if err := syscall.SetNonblock(p.fd, true); err != nil { // or else a file does not wait for it
		return os.NewSyscallError("fcntl", err)
	}
	p.epoll = os.NewFile(uintptr(p.fd), "epoll")
	raw, err := p.epoll.SyscallConn()
	if err != nil {
		return fmt.Errorf("wait for epoll: %w", err)
	}
	p.raw = raw
	return nil
}

// run calls f whenever something may have arrived, until close.
func (p *poller) run(f func()) {
	_ = p.raw.Read(func(uintptr) bool { f(); return false }) // ends with the file
}

func (p *poller) close() {
	_ = p.epoll.Close()
	_ = syscall.Close(p.wake)
}

// kick has run call f; from anywhere.
func (p *poller) kick() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = syscall.Write(p.wake, one[:]) // fails when it was told often enough, or is closed
}

func (p *poller) control(op, fd int, id int64) error {
	return syscall.EpollCtl(p.fd, op, fd, &syscall.EpollEvent{Events: pollInput, Fd: int32(id), Pad: int32(id >> 32)})
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

// events calls f for each connection on which something has arrived since; ended: that may have been its end.
func (p *poller) events(f func(id int64, ended bool)) {
	for {
		n, err := syscall.EpollWait(p.fd, p.found[:], 0)
		if err == syscall.EINTR {
			continue
		}
		for i := range max(n, 0) {
			e := &p.found[i]
			if id := int64(e.Pad)<<32 | int64(uint32(e.Fd)); id != pollWake {
				f(id, e.Events&pollEnd != 0)
			}
		}
		if n < len(p.found) {
			return
		}
	}
}
