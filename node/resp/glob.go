package resp

// globMatch reports whether s matches the Redis glob pattern p: * ? [a-z] [^a] and \ as escape. With fold, ASCII case is ignored. It
// follows Redis's stringmatchlen, including its treatment of unclosed classes. It does not recurse for each '*', because clients choose how
// many there are (CVE-2024-31228 in Redis).
func globMatch(p, s []byte, fold bool) bool {
	g := globber{fold: fold}
	// On a mismatch, matching resumes with the pattern after the last '*' (afterStar) and one byte further in the text (from). Earlier stars
	// need no backtracking: the pattern between them and the last '*' has matched at the earliest possible place.
	var afterStar, from []byte
	for len(p) > 0 && len(s) > 0 {
		if p[0] == '*' {
			p = withoutStars(p)
			if len(p) == 0 {
				return true
			}
			afterStar, from = p, s
			continue
		}
		rest, ok := g.one(p, s[0])
		p, s = rest, s[1:]
		if len(s) == 0 {
			p = withoutStars(p)
		}
		if (!ok || len(p) == 0 && len(s) > 0) && len(from) > 1 {
			from = from[1:]
			p, s = afterStar, from
		} else if !ok {
			return false
		}
	}
	return len(p) == 0 && len(s) == 0
}

func withoutStars(p []byte) []byte {
	for len(p) > 0 && p[0] == '*' {
		p = p[1:]
	}
	return p
}

type globber struct{ fold bool }

// one matches c against the first element of p, which is not a '*', and returns the rest of p.
func (g *globber) one(p []byte, c byte) (rest []byte, ok bool) {
	switch {
	case p[0] == '?':
		return p[1:], true
	case p[0] == '[':
		return g.class(p[1:], c)
	case p[0] == '\\' && len(p) >= 2:
		p = p[1:]
	}
	return p[1:], g.lower(p[0]) == g.lower(c)
}

// class matches c against the class that p starts with (after its opening bracket), and returns the rest of p. An unclosed class ends with
// the pattern.
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
