package resp

// splitWords splits an inline request into words as redis-cli and Redis do (sdssplitargs): blanks separate words; "..." supports \xHH and
// the escapes n r t b a; '...' supports \'; and a closing quote must be followed by a blank. It returns false for unbalanced quotes.
//
// The unquoted words are stored in p.inline. They are sliced only after all have been written, because the buffer may move before that.
func (p *parser) splitWords(line []byte, arena [][]byte) ([][]byte, bool) {
	var ends [16]int
	words := ends[:0]
	base := len(p.inline)
	for i := 0; ; {
		for i < len(line) && isBlank(line[i]) {
			i++
		}
		if i == len(line) {
			break
		}
		n, ok := p.word(line[i:])
		if !ok {
			return nil, false
		}
		i += n
		words = append(words, len(p.inline))
	}
	for _, end := range words {
		arena = append(arena, p.inline[base:end:end])
		base = end
	}
	return arena, true
}

// word appends one word to p.inline and returns how many bytes of s it took.
func (p *parser) word(s []byte) (int, bool) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ' ', '\n', '\r', '\t':
			return i, true
		case '"', '\'':
			n, ok := p.quoted(s[i:])
			if !ok || (i+n < len(s) && !isBlank(s[i+n])) {
				return 0, false
			}
			return i + n, true
		default:
			p.inline = append(p.inline, c)
		}
	}
	return len(s), true
}

// quoted appends the content of the quoted string that s starts with to p.inline, and returns its length in s, including both quotes.
func (p *parser) quoted(s []byte) (int, bool) {
	quote := s[0]
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == quote:
			return i + 1, true
		case c == '\\' && quote == '\'' && i+1 < len(s) && s[i+1] == '\'':
			p.inline = append(p.inline, '\'')
			i++
		case c == '\\' && quote == '"' && i+3 < len(s) && s[i+1] == 'x' && isHex(s[i+2]) && isHex(s[i+3]):
			p.inline = append(p.inline, unhex(s[i+2])<<4|unhex(s[i+3]))
			i += 3
		case c == '\\' && quote == '"' && i+1 < len(s):
			p.inline = append(p.inline, unescape(s[i+1]))
			i++
		default:
			p.inline = append(p.inline, c)
		}
	}
	return 0, false
}

func isBlank(c byte) bool { return c == ' ' || (c >= '\t' && c <= '\r') }

func isHex(c byte) bool {
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	default:
		return c - 'A' + 10
	}
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	default:
		return c
	}
}
