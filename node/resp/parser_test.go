package resp

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func testLimits() *Limits {
	return &Limits{MaxBulk: 1 << 20, MaxMultibulk: 1 << 20, MaxRequest: 4 << 20}
}

// parseAll feeds input to a parser in pieces of the given sizes (the last size repeats). It returns the commands and the final error.
func parseAll(input []byte, pieces ...int) (cmds [][]string, _ error) {
	p := newParser(testLimits())
	for i := 0; ; i++ {
		n := min(pieces[min(i, len(pieces)-1)], len(input))
		p.buf = append(p.buf, input[:n]...)
		input = input[n:]
		for {
			args, err := p.next(nil)
			if err != nil {
				return cmds, err
			}
			if args == nil {
				break
			}
			var words []string
			for _, a := range args {
				words = append(words, string(a))
			}
			cmds = append(cmds, words)
		}
		p.compact()
		if len(input) == 0 {
			return cmds, nil
		}
	}
}

func TestParser(t *testing.T) {
	for name, tt := range map[string]struct {
		input string
		want  [][]string
		err   string
	}{
		"multibulk":        {"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", [][]string{{"GET", "a"}}, ""},
		"two":              {"*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n", [][]string{{"a"}, {"b"}}, ""},
		"binary":           {"*1\r\n$5\r\n\r\n\x00\xff*\r\n", [][]string{{"\r\n\x00\xff*"}}, ""},
		"empty requests":   {"*0\r\n*-1\r\n\r\nPING\r\n", [][]string{{"PING"}}, ""},
		"inline":           {"SET \"a b\" 'c'\r\n", [][]string{{"SET", "a b", "c"}}, ""},
		"mixed":            {"a\n*1\r\n$1\r\nb\r\nc\n", [][]string{{"a"}, {"b"}, {"c"}}, ""},
		"unfinished":       {"*2\r\n$3\r\nGET\r\n$1\r\n", nil, ""},
		"negative bulk":    {"*1\r\n$-1\r\n", nil, "Protocol error: invalid bulk length"},
		"large bulk":       {"*1\r\n$1048577\r\n", nil, "Protocol error: invalid bulk length"},
		"no dollar":        {"*1\r\n#4\r\n", nil, "Protocol error: expected '$', got '#'"},
		"bad count":        {"*x\r\n", nil, "Protocol error: invalid multibulk length"},
		"many arguments":   {"*1048577\r\n", nil, "Protocol error: invalid multibulk length"},
		"good before bad":  {"a\n*x\r\n", [][]string{{"a"}}, "Protocol error: invalid multibulk length"},
		"unbalanced":       {"a 'b\r\n", nil, "Protocol error: unbalanced quotes in request"},
		"NUL":              {"a\nGET b\x00c\r\nd\n", [][]string{{"a"}}, "Protocol error: NUL byte in inline request"},
		"NUL, unfinished":  {"a\n\x16\x03\x01\x00", [][]string{{"a"}}, "Protocol error: NUL byte in inline request"},
		"NUL after a line": {"a\n*1\r\n$1\r\n\x00\r\nb\n", [][]string{{"a"}, {"\x00"}, {"b"}}, ""},
		"long inline":      {strings.Repeat("a", maxLine+1), nil, "Protocol error: too big inline request"},
		"long count":       {"*" + strings.Repeat("1", maxLine), nil, "Protocol error: too big mbulk count string"},
		"long bulk length": {"*1\r\n$" + strings.Repeat("1", maxLine), nil, "Protocol error: too big bulk count string"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, piece := range []int{len(tt.input), 1, 3, 7} {
				got, err := parseAll([]byte(tt.input), piece)
				text := ""
				if err != nil {
					text = err.Error()
				}
				if !slices.EqualFunc(got, tt.want, slices.Equal) || text != tt.err {
					t.Errorf("pieces of %d: %q, %q; want %q, %q", piece, got, text, tt.want, tt.err)
				}
			}
		})
	}
}

// FuzzParser checks that it makes no difference how the input is cut into pieces, and that the limits hold.
func FuzzParser(f *testing.F) {
	for _, s := range []string{"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "PING\r\n", "SET \"a\\x41\" 'b'\r\n*1\r\n$0\r\n\r\n", "*-1\r\n*3\r\n$-1", "*1\r\n$4\r\nPINGxx",
		"a\x00b\r\n", "\r\n\n*0\r\n"} {
		f.Add([]byte(s), uint8(3), uint8(1))
	}
	f.Fuzz(func(t *testing.T, input []byte, first, rest uint8) {
		input = input[:min(len(input), 4<<10)] // feeding one byte at a time takes quadratic time
		whole, wholeErr := parseAll(input, len(input))
		pieces, piecesErr := parseAll(input, int(first)+1, int(rest)+1)
		if !slices.EqualFunc(whole, pieces, slices.Equal) || !errors.Is(wholeErr, piecesErr) {
			t.Fatalf("whole: %q %v, in pieces: %q %v", whole, wholeErr, pieces, piecesErr)
		}
		var w writer
		for _, cmd := range whole {
			if len(cmd) == 0 {
				t.Fatal("a command without words")
			}
			w.array(len(cmd))
			for _, word := range cmd {
				w.bulk([]byte(word))
			}
		}
		if again, err := parseAll(w.buf, max(len(w.buf), 1)); err != nil || !slices.EqualFunc(again, whole, slices.Equal) {
			t.Fatalf("%q, encoded and parsed again: %q, %v", whole, again, err)
		}
	})
}

// FuzzParserMemory feeds the parser as a connection does, and checks that the memory it holds is in proportion to what has arrived, whatever
// lengths and counts were announced.
func FuzzParserMemory(f *testing.F) {
	f.Add([]byte("*1048576\r\n$1048576\r\nabc"))
	f.Add([]byte("*2\r\n$0\r\n\r\n$1048576\r\n" + strings.Repeat("x", 20<<10)))
	f.Add([]byte(strings.Repeat("a 'b c' ", 100) + "\r\n"))
	f.Add([]byte(strings.Repeat("*1\r\n$0\r\n\r\n", 200)))
	f.Fuzz(func(t *testing.T, input []byte) {
		p := newParser(testLimits())
		defer p.release()
		for rest := input; len(rest) > 0; {
			if err := p.makeRoom(); err != nil {
				t.Fatalf("%d bytes are too many: %v", len(input), err)
			}
			n := copy(p.buf[len(p.buf):cap(p.buf)], rest)
			p.buf, rest = p.buf[:len(p.buf)+n], rest[n:]
			for {
				args, err := p.next(nil)
				if err != nil {
					return
				}
				if args == nil {
					break
				}
			}
			// The buffer doubles, has a pooled size, or holds an argument of which more than a ninth has arrived; see makeRoom. An argument takes
			// at least six bytes of input.
			if most := 2*largeBuffer + 8*len(input); cap(p.buf) > most {
				t.Fatalf("a buffer of %d bytes for %d that arrived", cap(p.buf), len(input))
			}
			if cap(p.spans) > 16+len(input) || cap(p.inline) > 64+2*len(input) {
				t.Fatalf("%d spans, %d inline bytes for %d that arrived", cap(p.spans), cap(p.inline), len(input))
			}
			p.compact()
		}
	})
}

// FuzzRoundTrip checks that the parser returns what a client encodes.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("SET"), []byte("k\r\n"), []byte{0, 1, 2})
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		var w writer
		w.array(3)
		w.bulk(a)
		w.bulk(b)
		w.bulk(c)
		got, err := parseAll(w.buf, 1+rand.IntN(5))
		if err != nil || len(got) != 1 || !slices.Equal(got[0], []string{string(a), string(b), string(c)}) {
			t.Fatalf("%q, %v", got, err)
		}
	})
}

// FuzzGlob checks that matching terminates, and two of its laws.
func FuzzGlob(f *testing.F) {
	f.Add([]byte("a*b[c-d]?\\*"), []byte("axxbcx*"))
	f.Add([]byte("a*a*a*a*a*a*a*b"), bytes.Repeat([]byte("a"), 64))
	f.Fuzz(func(t *testing.T, pattern, s []byte) {
		pattern, s = pattern[:min(len(pattern), 64)], s[:min(len(s), 256)]
		exact := globMatch(pattern, s, false)
		if exact && !globMatch(pattern, s, true) && !bytes.ContainsAny(pattern, "[") {
			t.Fatalf("%q matches %q, but not when case is ignored", pattern, s)
		}
		if len(s) > 0 && !globMatch([]byte("*"), s, false) {
			t.Fatalf("* does not match %q", s)
		}
	})
}

func TestParseInt(t *testing.T) {
	for text, want := range map[string]struct {
		n  int64
		ok bool
	}{
		"0": {0, true}, "-1": {-1, true}, "9223372036854775807": {9223372036854775807, true},
		"-9223372036854775808": {-9223372036854775808, true}, "9223372036854775808": {}, "-9223372036854775809": {},
		"18446744073709551616": {}, "-": {}, "": {}, "-0": {}, "00": {}, "+1": {}, " 1": {}, "1 ": {}, "1x": {}, "99999999999999999999": {},
	} {
		if n, ok := parseInt([]byte(text)); n != want.n || ok != want.ok {
			t.Errorf("%q: %d, %v", text, n, ok)
		}
	}
}

func TestWriterLimit(t *testing.T) {
	w := writer{limit: 40}
	w.text("0123456789")
	w.bulk(make([]byte, 100))
	w.ok()
	if !w.over || string(w.buf) != "$10\r\n0123456789\r\n" {
		t.Errorf("over %v, %q", w.over, w.buf)
	}
}

func TestWriterProtocols(t *testing.T) {
	write := func(w *writer) {
		w.null()
		w.nullArray()
		w.dict(1)
		w.set(1)
		w.verbatim("x")
		w.fail("ERR a\r\nb")
	}
	var two, three writer
	three.resp3 = true
	write(&two)
	write(&three)
	if want := "$-1\r\n*-1\r\n*2\r\n*1\r\n$1\r\nx\r\n-ERR a  b\r\n"; string(two.buf) != want {
		t.Errorf("RESP2 %q", two.buf)
	}
	if want := "_\r\n_\r\n%1\r\n~1\r\n=5\r\ntxt:x\r\n-ERR a  b\r\n"; string(three.buf) != want {
		t.Errorf("RESP3 %q", three.buf)
	}
}
