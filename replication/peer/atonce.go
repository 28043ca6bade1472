package peer

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// writer is the sending side of a connection. A goroutine that has something to say sends it directly if the socket accepts
// it, which saves waking another one. Otherwise it leaves the message to the goroutine that may block.
type writer struct {
	conn net.Conn
	raw  syscall.RawConn // nil: nothing can be sent at once

	mu   sync.Mutex // held while writing; guards the fields below
	rest []byte     // the part of a started message that the socket did not accept
	buf  []byte
}

func newWriter(conn net.Conn) *writer {
	w := &writer{conn: conn}
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			w.raw = raw
		}
	}
	return w
}

// atOnce writes what encode appends to its argument, without blocking. If it returns false, the message must be sent with
// write.
func (w *writer) atOnce(encode func([]byte) []byte) bool {
	if w.raw == nil || !w.mu.TryLock() {
		return false
	}
	defer w.mu.Unlock()
	if len(w.rest) > 0 {
		return false
	}
	w.buf = encode(w.buf[:0])
	sent := 0
	err := w.raw.Control(func(fd uintptr) {
		if n, err := syscall.Write(int(fd), w.buf); err == nil {
			sent = n
		}
	})
	if err != nil || sent == 0 {
		return false
	}
	w.rest = w.buf[sent:]
	return len(w.rest) == 0
}

// write writes the rest of an earlier message, then what encode appends to its argument.
func (w *writer) write(encode func([]byte) []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.conn.SetWriteDeadline(time.Now().Add(writeStall))
	w.buf = encode(append(w.buf[:0], w.rest...))
	n, err := w.conn.Write(w.buf)
	w.rest = w.buf[n:] // keep the rest, or the next message could start in the middle of this one
	return err
}
