package peer

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// pair returns both ends of a TCP connection on loopback.
func pair(t *testing.T) (here, there net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if here, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = here.Close() })
	if there, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = there.Close() })
	return here, there
}

// TestWriterKeepsMessagesWhole: while one side accepts nothing, messages are cut in the middle and left to the goroutine
// that may block. They must arrive whole and in order.
func TestWriterKeepsMessagesWhole(t *testing.T) {
	here, there := pair(t)
	w := newWriter(here)
	const size = 1000 // not a divisor of any buffer's size
	message := func(n uint64) func([]byte) []byte {
		return func(b []byte) []byte {
			m := make([]byte, size)
			binary.LittleEndian.PutUint64(m, n)
			binary.LittleEndian.PutUint64(m[size-8:], n)
			return append(b, m...)
		}
	}
	sent := uint64(0)
	for w.atOnce(message(sent)) { // until the socket is full
		sent++
	}
	begun := len(w.rest) > 0
	if begun && w.atOnce(message(sent+1)) { // otherwise the socket may have room again
		t.Fatal("a message went out before what was left of the one before it")
	}
	waited := make(chan error, 1)
	next := sent
	if begun { // it goes out with the next one
		next++
	}
	go func() { waited <- w.write(message(next)) }()
	read := make([]byte, size)
	for n := range next + 1 {
		if _, err := io.ReadFull(there, read); err != nil {
			t.Fatal(err)
		}
		if a, b := binary.LittleEndian.Uint64(read), binary.LittleEndian.Uint64(read[size-8:]); a != n || b != n {
			t.Fatalf("message %d arrived as %d and %d", n, a, b)
		}
	}
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	if !w.atOnce(message(next + 1)) {
		t.Fatal("the socket is empty again, and takes nothing at once")
	}
}

// A message whose write timed out ends in the middle: nothing may be sent at once after it.
func TestNothingIsSaidBehindHalfAMessage(t *testing.T) {
	here, there := pair(t)
	w := newWriter(here)
	failed := make(chan error, 1)
	go func() { failed <- w.write(func(b []byte) []byte { return append(b, make([]byte, 64<<20)...) }) }()
	for err := error(nil); err == nil; {
		select {
		case err = <-failed:
		case <-time.After(100 * time.Millisecond):
			_ = here.SetWriteDeadline(time.Unix(1, 0)) // as if the time were up
		}
	}
	_ = there.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	_, _ = io.Copy(io.Discard, there) // there is room again
	if w.atOnce(func(b []byte) []byte { return append(b, 1) }) {
		t.Fatal("a message went out in the middle of another")
	}
}
