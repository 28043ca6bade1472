package resp

// globMatch reports whether s matches Redis's glob pattern: * ? [a-z] [^a] and \ as escape. With fold, ASCII case is
// ignored. It follows stringmatchlen, its treatment of unfinished classes included.
func globMatch(pattern, s []byte, fold bool) bool {
	g := globber{fold: fold}
	return g.match(pattern, s)
}

// globber remembers that no '*' further left needs to try a longer match, which keeps patterns like a*a*a*b from taking
// exponential time.
type globber struct {
	fold     bool
	hopeless bool
}

func (g *globber) match(p, s []byte) bool {
	for len(p) > 0 && len(s) > 0 {
		switch p[0] {
		case '*':
			return g.star(p, s)
		case '?':
			p, s = p[1:], s[1:]
		case '[':
			rest, ok := g.class(p[1:], s[0])
			if !ok {
				return false
			}
			p, s = rest, s[1:]
		default:
			if p[0] == '\\' && len(p) >= 2 {
				p = p[1:]
			}
			if g.lower(p[0]) != g.lower(s[0]) {
				return false
			}
			p, s = p[1:], s[1:]
		}
		if len(s) == 0 {
			for len(p) > 0 && p[0] == '*' {
				p = p[1:]
			}
		}
	}
	return len(p) == 0 && len(s) == 0
}

func (g *globber) star(p, s []byte) bool {
	for len(p) > 1 && p[1] == '*' {
		p = p[1:]
	}
	if len(p) == 1 {
		return true
	}
	for ; len(s) > 0; s = s[1:] {
		if g.match(p[1:], s) {
			return true
		}
		if g.hopeless {
			return false
		}
	}
	g.hopeless = true
	return false
}

// class matches c against the class that p starts with (after its bracket) and returns what follows the class. A class
// that is not closed ends with the pattern.
func (g *globber) class(p []byte, c byte) ([]byte, bool) {
	not := len(p) > 0 && p[0] == '^'
	if not {
		p = p[1:]
	}
	hit := false
	for {
		switch {
		case len(p) >= 2 && p[0] == '\\':
			p = p[1:]
			hit = hit || p[0] == c
		case len(p) == 0:
			return nil, hit != not
		case p[0] == ']':
			return p[1:], hit != not
		case len(p) >= 3 && p[1] == '-':
			lo, hi, ch := p[0], p[2], c
			if lo > hi {
				lo, hi = hi, lo
			}
			if g.fold {
				lo, hi, ch = g.lower(lo), g.lower(hi), g.lower(ch)
			}
			hit = hit || (ch >= lo && ch <= hi)
			p = p[2:]
		default:
			hit = hit || g.lower(p[0]) == g.lower(c)
		}
		p = p[1:]
	}
}

func (g *globber) lower(c byte) byte {
	if g.fold && c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
