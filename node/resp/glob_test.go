package resp

import (
	"bytes"
	"math/rand/v2"
	"runtime/debug"
	"testing"
)

// globRecursive is Redis's matcher, which recurses for each '*'.
type globRecursive struct {
	globber
	hopeless bool // no earlier '*' needs to try a longer match
}

func (g *globRecursive) match(p, s []byte) bool {
	for len(p) > 0 && len(s) > 0 {
		if p[0] == '*' {
			if p = withoutStars(p); len(p) == 0 {
				return true
			}
			for ; len(s) > 0; s = s[1:] {
				if g.match(p, s) {
					return true
				}
				if g.hopeless {
					return false
				}
			}
			g.hopeless = true
			return false
		}
		rest, ok := g.one(p, s[0])
		if !ok {
			return false
		}
		if p, s = rest, s[1:]; len(s) == 0 {
			p = withoutStars(p)
		}
	}
	return len(p) == 0 && len(s) == 0
}

func TestGlobIsThatOfRedis(t *testing.T) {
	const ofPatterns, ofText = `***ab?[]^-\A`, "abA*]"
	pick := func(from string, most int) []byte {
		b := make([]byte, rand.IntN(most))
		for i := range b {
			b[i] = from[rand.IntN(len(from))]
		}
		return b
	}
	matched := 0
	for range 300_000 {
		p, s, fold := pick(ofPatterns, 9), pick(ofText, 7), rand.IntN(2) == 0
		want := (&globRecursive{globber: globber{fold: fold}}).match(p, s)
		if got := globMatch(p, s, fold); got != want {
			t.Fatalf("%q matches %q (fold %t): %t, want %t", p, s, fold, got, want)
		}
		if want {
			matched++
		}
	}
	if matched < 1000 {
		t.Errorf("only %d matched", matched)
	}
}

// Clients choose how many '*' a pattern has. A stack overflow would end the process: it cannot be recovered from.
func TestGlobOfManyStarsNeedsNoStack(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(1 << 20))
	const n = 100_000
	done := make(chan bool)
	go func() {
		done <- globMatch(append(bytes.Repeat([]byte("a*"), n/2), 'b'), bytes.Repeat([]byte("a"), n), false)
	}()
	if <-done {
		t.Error("it matches")
	}
}
