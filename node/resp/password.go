package resp

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"sync/atomic"
)

const (
	errNoAuth    = "NOAUTH Authentication required."
	errWrongPass = "WRONGPASS invalid username-password pair or user is disabled."
	// errHelloNoAuth is the answer to a HELLO that leaves the connection locked.
	errHelloNoAuth = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
	// defaultUser is the only one there is.
	defaultUser = "default"
)

// Bounds of what a connection that gave no password may send, as in Redis: whoever may not use the server must not fill its memory. Besides,
// a request of it has to fit a small buffer.
const (
	lockedArgs = 10
	lockedBulk = 16 << 10 // bytes
)

// LongestPassword is the length of the longest, in bytes.
const LongestPassword = 4 << 10

// Passwords are what a client has to give one of. There may be several, so that one can be replaced while clients that know only the old one,
// or only the new one, go on. Members give each other theirs.
type Passwords struct{ now atomic.Pointer[passwords] }

type passwords struct {
	words []string
	sums  [][sha256.Size]byte // of words
}

// NewPasswords returns what Set makes of words.
func NewPasswords(words ...string) *Passwords {
	p := new(Passwords)
	p.Set(words)
	return p
}

// Set replaces all of them. Connections that gave one before stay as they are.
func (p *Passwords) Set(words []string) {
	now := &passwords{words: words}
	for _, w := range words {
		now.sums = append(now.sums, sha256.Sum256([]byte(w)))
	}
	p.now.Store(now)
}

// accepts compares in a time that tells nothing of the passwords but their number.
func (p *Passwords) accepts(given []byte) bool {
	sum, found := sha256.Sum256(given), 0
	for _, want := range p.now.Load().sums {
		found |= subtle.ConstantTimeCompare(sum[:], want[:])
	}
	return found == 1
}

// lock has the connection give a password before anything else, where there is one.
func (c *conn) lock() { c.parser.locked, c.given = c.srv.opt.Passwords != nil, "" }

// login lets the connection in, or answers that it may not.
func (c *call) login(user, password []byte) bool {
	p := c.srv.opt.Passwords
	if string(user) != defaultUser || p != nil && !p.accepts(password) {
		c.w.fail(errWrongPass)
		return false
	}
	c.conn.parser.locked = false
	if p == nil && len(password) <= LongestPassword {
		c.conn.given = string(password) // the upstream may be in use; the next one gives this, see connect
	}
	return true
}

// words are what the leader may ask for. A member that asks for none passes on what its client gave: the leader may ask already, or still,
// while passwords come to a store, or go, member by member.
func (c *conn) words() []string {
	switch p := c.srv.opt.Passwords; {
	case p != nil:
		return p.now.Load().words
	case c.given != "":
		return []string{c.given}
	default:
		return nil
	}
}

// login gives the leader the one of words that it takes: while they are being replaced, it may know others. One that asks for none takes any.
func (u *upstream) login(words []string) (err error) {
	for _, w := range words {
		if err = u.ask("AUTH", defaultUser, w); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
			return err
		}
	}
	return err
}
