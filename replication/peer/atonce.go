package peer

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// writer is the sending side of a connection: whoever has something to say says it at once, if the socket takes it, so that no goroutine
// has to be woken for that; or else leaves it to the goroutine that may wait.
type writer struct {
	conn net.Conn
	raw  syscall.RawConn // nil: nothing is taken at once

	mu   sync.Mutex // held while writing, and guards what follows
	rest []byte     // what the socket did not take of a message that was begun
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

// atOnce writes what encode appends to its argument, and does not wait. False: it has to be written by write.
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

// write writes what is left of an earlier message and what encode appends to its argument.
func (w *writer) write(encode func([]byte) []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.conn.SetWriteDeadline(time.Now().Add(writeStall))
	w.buf = encode(append(w.buf[:0], w.rest...))
	n, err := w.conn.Write(w.buf)
	w.rest = w.buf[n:] // or else somebody could begin a message in the middle of this one
	return err
}
