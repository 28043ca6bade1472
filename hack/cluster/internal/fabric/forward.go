package fabric

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Forward accepts connections on l and forwards each to the address to, in the network namespace of the calling process. A
// listening socket stays in the namespace where it was opened. So a process inside a machine that holds a socket of the host joins
// the two namespaces without an interface between them. Forward returns when l fails.
func Forward(l net.Listener, to string) error {
	for {
		outer, err := l.Accept()
		if err != nil {
			return fmt.Errorf("accept connection: %w", err)
		}
		go carry(outer.(*net.TCPConn), to)
	}
}

// carry joins two connections until both directions have ended.
func carry(outer *net.TCPConn, to string) {
	defer outer.Close()
	conn, err := net.DialTimeout("tcp4", to, 10*time.Second)
	if err != nil {
		return // the caller sees its connection closed
	}
	inner := conn.(*net.TCPConn)
	defer inner.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pipe(inner, outer)
	}()
	pipe(outer, inner)
	<-done
}

// pipe copies from src to dst and passes on the end of the stream. A failed copy ends both directions.
func pipe(dst, src *net.TCPConn) {
	if _, err := io.Copy(dst, src); err != nil && !errors.Is(err, io.EOF) {
		dst.Close()
		src.Close()
		return
	}
	// The peer may be gone already.
	_ = dst.CloseWrite()
}
