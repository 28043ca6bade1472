package resp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

var (
	errBadReply  = errors.New("the leader's reply is not valid RESP")
	errLongReply = errors.New("the leader's reply exceeds client-output-buffer-limit")
)

// copyReply appends one complete reply, including all elements of aggregates, to dst without changing it. most bounds the length of dst in
// bytes (0: no bound); a longer one is errLongReply. before is called with the length of each string before it is read.
func copyReply(dst []byte, in *bufio.Reader, most int, before func(n int)) ([]byte, error) {
	for left := 1; left > 0; left-- {
		kind, n, line, err := replyHeader(in)
		if err != nil {
			return dst, err
		}
		dst = append(dst, line...)
		switch kind {
		case '$', '=', '!':
			if n > 0 && (most == 0 || len(dst)+n <= most) {
				before(n)
			}
			if n >= 0 {
				if dst, err = copyBytes(dst, in, n+2, most); err != nil {
					return dst, err
				}
			}
		case '*', '~', '>':
			left += max(n, 0)
		case '%':
			left += 2 * max(n, 0)
		case '|': // attributes are followed by the reply that they belong to
			left += 2*max(n, 0) + 1
		case '+', '-', ':', '_', ',', '#', '(':
		default:
			return dst, fmt.Errorf("%w: it begins with %q", errBadReply, kind)
		}
		if most > 0 && len(dst) > most {
			return dst, errLongReply
		}
	}
	return dst, nil
}

// longestLine bounds a line of a reply, in bytes. It is generous because an error may repeat what the client sent.
const longestLine = 1 << 20

// readLine reads a line, including its end. The line is valid until the next read.
func readLine(in *bufio.Reader) (line []byte, err error) {
	for {
		part, err := in.ReadSlice('\n')
		switch {
		case !errors.Is(err, bufio.ErrBufferFull) && line == nil:
			return part, err
		case len(line)+len(part) > longestLine:
			return nil, errBadReply
		}
		if line = append(line, part...); !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// replyHeader reads the first line of a reply. n is the length or count in it, if replies of that kind have one. The line is valid until the
// next read.
func replyHeader(in *bufio.Reader) (kind byte, n int, line []byte, err error) {
	line, err = readLine(in)
	switch {
	case err != nil:
		return 0, 0, nil, noEOF(err)
	case len(line) < 3 || line[len(line)-2] != '\r':
		return 0, 0, nil, errBadReply
	}
	switch kind = line[0]; kind {
	case '$', '=', '!', '*', '~', '>', '%', '|':
		if n, err = strconv.Atoi(string(line[1 : len(line)-2])); err != nil {
			return 0, 0, nil, fmt.Errorf("%w: %w", errBadReply, err)
		}
	}
	return kind, n, line, nil
}

// copyBytes appends n bytes to dst, in steps, so that memory is not allocated for announced bytes that never arrive.
func copyBytes(dst []byte, in *bufio.Reader, n, most int) ([]byte, error) {
	if most > 0 && len(dst)+n > most {
		return dst, errLongReply
	}
	for n > 0 {
		at, step := len(dst), min(n, 1<<20)
		dst = append(dst, make([]byte, step)...)
		if _, err := io.ReadFull(in, dst[at:]); err != nil {
			return dst[:at], noEOF(err)
		}
		n -= step
	}
	return dst, nil
}

// noEOF replaces io.EOF by io.ErrUnexpectedEOF: a connection that ends where a reply was due has broken.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
