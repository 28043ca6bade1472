package resp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller reports which sockets have input. It is an epoll instance that the runtime's own poller waits for, as for any file, so that waiting
// occupies no thread.
//
// It is edge-triggered: a socket is reported once for what has arrived, so that no system calls are needed to arm and disarm it.
type poller struct {
	epoll, wake *os.File // wake is an eventfd
	raw         syscall.RawConn
	found       [128]syscall.EpollEvent
}

// atOnce bounds the number of calls of epoll_wait per call of events.
const atOnce = 8

const (
	pollInput = syscall.EPOLLIN | syscall.EPOLLRDHUP | 1<<31 // 1<<31 is EPOLLET, which package syscall defines as a negative number
	pollEnd   = syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR
	pollWake  = -1 // the ID of the eventfd; connections have IDs from 1 on
)

func newPoller() (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // os.NewFile hands only nonblocking descriptors to the runtime's poller
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

// run calls f once, and then whenever something may have arrived, until close.
func (p *poller) run(f func()) {
	_ = p.raw.Read(func(uintptr) bool { f(); return false }) // returns when the file is closed
}

func (p *poller) close() { _ = errors.Join(p.epoll.Close(), p.wake.Close()) }

// kick makes run call f. Any goroutine may call it.
func (p *poller) kick() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1) // nobody resets the eventfd's counter; writes would block only close to 1<<64
	_, _ = p.wake.Write(one[:])              // fails once the eventfd is closed
}

func (p *poller) control(op, fd int, id int64) (err error) {
	outer := p.raw.Control(func(epoll uintptr) {
		err = syscall.EpollCtl(int(epoll), op, fd, &syscall.EpollEvent{Events: pollInput, Fd: int32(id), Pad: int32(id >> 32)})
	})
	return errors.Join(outer, err)
}

// add makes events report c, including what has arrived before. It returns false if that fails.
func (p *poller) add(c *conn) bool {
	ok := false
	err := c.raw.Control(func(fd uintptr) { ok = p.control(syscall.EPOLL_CTL_ADD, int(fd), c.id) == nil })
	return err == nil && ok
}

// remove makes events no longer report c. A closed socket has been removed already.
func (p *poller) remove(c *conn) {
	_ = c.raw.Control(func(fd uintptr) { _ = p.control(syscall.EPOLL_CTL_DEL, int(fd), c.id) })
}

// events calls f for each connection on which something has arrived since the last call. ended tells that the client may have closed the
// connection, or its side of it. events returns true if there may be more connections to report.
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

// look calls epoll_wait without waiting. It returns how many events there are in found.
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

// holdBack makes a socket hold back partial segments until it is shut down (TCP_CORK, see tcp(7)).
func holdBack(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, 1)
}

// hungUp reports whether the peer has closed the connection, or its side of it, even if there is still input to be read.
func hungUp(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents != 0
}
