package peers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"

	"github.com/replicatedstore/replicatedstore/hack/local/process"
)

// Null is a process that answers every command and stores nothing.
type Null struct {
	group
	Address string
}

// StartNull starts the null server: self, the command line of this program, with the arguments for it.
func StartNull(ctx context.Context, self []string, dir string) (*Null, error) {
	address, err := process.FreeAddress()
	if err != nil {
		return nil, err
	}
	n := &Null{Address: address}
	if err := n.start(append(self, n.Address), filepath.Join(dir, "null.log")); err != nil {
		return nil, err
	}
	err = n.await(ctx, "null server", func() error {
		c, err := net.Dial("tcp", n.Address)
		if err != nil {
			return err
		}
		return c.Close()
	})
	return n, err
}

// ServeNull answers +OK to every command on address, until it fails.
func ServeNull(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			_ = answer(c) // the client left
		}()
	}
}

// answer reads commands and answers all that have arrived with a single write.
func answer(c net.Conn) error {
	r := bufio.NewReaderSize(c, 64<<10)
	var out []byte
	for {
		if err := skipCommand(r); err != nil {
			return err
		}
		out = append(out, "+OK\r\n"...)
		if r.Buffered() > 0 {
			continue
		}
		if _, err := c.Write(out); err != nil {
			return err
		}
		out = out[:0]
	}
}

func skipCommand(r *bufio.Reader) error {
	args, err := number(r, '*')
	for ; err == nil && args > 0; args-- {
		var n int
		if n, err = number(r, '$'); err == nil {
			_, err = r.Discard(n + 2)
		}
	}
	return err
}

func number(r *bufio.Reader, kind byte) (int, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case err != nil:
		return 0, err
	case line[0] != kind:
		return 0, errors.Join(io.ErrUnexpectedEOF, fmt.Errorf("%q where %q was due", line, kind))
	}
	return strconv.Atoi(string(bytes.TrimSpace(line[1:])))
}
