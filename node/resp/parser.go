package resp

import (
	"bytes"
	"cmp"
	"math"
	"strconv"
)

// maxLine bounds an inline request, and a line that holds a count or a length, in bytes (PROTO_INLINE_MAX_SIZE in Redis).
const maxLine = 64 << 10

// Limits bound the memory that one client can make the server hold.
type Limits struct {
	MaxBulk      int // longest argument, in bytes
	MaxMultibulk int // most arguments of one command
	MaxRequest   int // longest command in total, in bytes; a longer one closes the connection
}

// protocolError is fatal for its connection: the text is sent to the client, then the connection is closed.
type protocolError string

func (e protocolError) Error() string { return "Protocol error: " + string(e) }

// span is the position of an argument, relative to the start of its command.
type span struct{ from, to int }

// parser parses commands from a byte buffer that grows at its end. It accepts multibulk and inline requests. It keeps its state between
// calls, so that a long command that arrives in pieces is scanned only once.
//
// Invariant: buf[start:pos] is the scanned part of the current command, spans its arguments found so far.
type parser struct {
	limits *Limits
	locked bool // the client has not given a password yet; see password.go
	buf    []byte
	start  int
	pos    int
	left   int // arguments still missing; 0 between commands
	bulk   int // length of the argument being read; -1 if its header has not been read yet
	spans  []span
	inline []byte // unquoted arguments of inline commands since the last compact
}

func newParser(l *Limits) parser { return parser{limits: l, bulk: -1} }

// next returns the arguments of the next complete command, appended to arena, or nil if more bytes are needed. The arguments point into
// buf (those of inline commands into p.inline) and are valid until compact is called. Empty requests are skipped, as in Redis.
func (p *parser) next(arena [][]byte) ([][]byte, error) {
	for {
		if p.left == 0 {
			if p.pos >= len(p.buf) {
				return nil, nil
			}
			if p.buf[p.pos] != '*' {
				args, ok, err := p.nextInline(arena)
				if !ok || err != nil || len(args) > 0 {
					return args, err
				}
				continue
			}
			ok, err := p.multibulkHeader()
			if !ok || err != nil {
				return nil, err
			}
			if p.left == 0 {
				p.start = p.pos
				continue
			}
		}
		done, err := p.arguments()
		if !done || err != nil {
			return nil, err
		}
		for _, s := range p.spans {
			from, to := p.start+s.from, p.start+s.to
			arena = append(arena, p.buf[from:to:to])
		}
		p.spans, p.start = p.spans[:0], p.pos
		return arena, nil
	}
}

// multibulkHeader reads "*<count>\r\n". A count of zero or less is an empty request.
func (p *parser) multibulkHeader() (bool, error) {
	line, ok, err := p.line("too big mbulk count string")
	if !ok || err != nil {
		return false, err
	}
	n, ok := parseInt(line[1:])
	if !ok || n > int64(min(p.limits.MaxMultibulk, math.MaxInt32)) {
		return false, protocolError("invalid multibulk length")
	}
	if p.locked && n > lockedArgs {
		return false, protocolError("unauthenticated multibulk length")
	}
	p.left, p.bulk = int(max(n, 0)), -1
	return true, nil
}

// arguments reads "$<length>\r\n<bytes>\r\n" until the command is complete. It returns false if more bytes are needed.
func (p *parser) arguments() (bool, error) {
	for p.left > 0 {
		if p.bulk < 0 {
			line, ok, err := p.line("too big bulk count string")
			if !ok || err != nil {
				return false, err
			}
			n, ok := parseInt(line[1:])
			if !ok || n < 0 || n > int64(p.limits.MaxBulk) {
				return false, protocolError("invalid bulk length")
			}
			if p.locked && n > lockedBulk {
				return false, protocolError("unauthenticated bulk length")
			}
			p.bulk = int(n)
		}
		if len(p.buf)-p.pos < p.bulk+2 {
			return false, nil
		}
		p.spans = append(p.spans, span{p.pos - p.start, p.pos - p.start + p.bulk})
		p.pos += p.bulk + 2
		p.bulk = -1
		p.left--
	}
	return true, nil
}

// line returns the bytes up to the next CR and skips CR and LF. Like Redis, it does not check that the second byte is an LF.
func (p *parser) line(tooLong string) ([]byte, bool, error) {
	rest := p.buf[p.pos:]
	cr := bytes.IndexByte(rest, '\r')
	if cr < 0 {
		if len(rest) > maxLine {
			return nil, false, protocolError(tooLong)
		}
		return nil, false, nil
	}
	if cr+2 > len(rest) {
		return nil, false, nil
	}
	if p.left > 0 && rest[0] != '$' {
		return nil, false, protocolError("expected '$', got '" + string(rest[:1]) + "'")
	}
	p.pos += cr + 2
	return rest[:cr], true, nil
}

// nextInline reads one line of words, as typed into telnet. ok is false if the end of the line has not arrived.
func (p *parser) nextInline(arena [][]byte) (_ [][]byte, ok bool, _ error) {
	rest := p.buf[p.pos:]
	lf := bytes.IndexByte(rest, '\n')
	nul := bytes.IndexByte(rest[:cmp.Or(lf+1, len(rest))], 0)
	switch {
	case nul >= 0: // Redis does not find the end of such a line, and waits for more
		return nil, false, protocolError("NUL byte in inline request")
	case lf < 0 && len(rest) > maxLine:
		return nil, false, protocolError("too big inline request")
	case lf < 0:
		return nil, false, nil
	}
	line := bytes.TrimSuffix(rest[:lf], []byte{'\r'})
	p.pos += lf + 1
	p.start = p.pos
	args, fine := p.splitWords(line, arena)
	if !fine {
		return nil, false, protocolError("unbalanced quotes in request")
	}
	if len(args) == len(arena) {
		return nil, true, nil
	}
	return args, true, nil
}

// chunk returns how many commands may be parsed at once: just one on a locked connection, because it may unlock it.
func (p *parser) chunk() int {
	if p.locked {
		return 1
	}
	return chunkCommands
}

// pending returns how many bytes of an unfinished command are buffered.
func (p *parser) pending() int { return len(p.buf) - p.start }

// missing returns how many more bytes the current argument needs, or 0 if that is not known yet.
func (p *parser) missing() int {
	if p.left == 0 || p.bulk < 0 {
		return 0
	}
	return max(0, p.bulk+2-(len(p.buf)-p.pos))
}

// compact drops the commands already returned. Their arguments are not valid afterwards.
func (p *parser) compact() {
	p.inline = p.inline[:0]
	if p.start == 0 {
		return
	}
	n := copy(p.buf, p.buf[p.start:])
	p.buf = p.buf[:n]
	p.pos -= p.start
	p.start = 0
}

// parseInt parses a signed 64-bit decimal as Redis does: no plus sign, no leading zero, no space, no "-0".
func parseInt(b []byte) (int64, bool) {
	if len(b) == 1 && b[0] >= '0' && b[0] <= '9' {
		return int64(b[0] - '0'), true
	}
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	digits := b
	if b[0] == '-' {
		digits = b[1:]
	}
	if len(digits) == 0 || digits[0] < '1' || digits[0] > '9' {
		return 0, false
	}
	var v uint64
	for _, c := range digits {
		d := uint64(c - '0')
		if d > 9 || v > math.MaxUint64/10 || v*10 > math.MaxUint64-d {
			return 0, false
		}
		v = v*10 + d
	}
	switch {
	case b[0] == '-' && v <= 1<<63:
		return -int64(v), true
	case b[0] != '-' && v <= math.MaxInt64:
		return int64(v), true
	default:
		return 0, false
	}
}

func formatInt(n int64) []byte { return strconv.AppendInt(nil, n, 10) }
