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
	// errHelloNoAuth is the reply to a HELLO that leaves the connection locked.
	errHelloNoAuth = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
	// defaultUser is the only user.
	defaultUser = "default"
)

// Bounds for the requests of a connection that has not given a password yet, as in Redis: whoever may not use the server must not be able to
// fill its memory. In addition, such a request has to fit a small buffer.
const (
	lockedArgs = 10
	lockedBulk = 16 << 10 // bytes
)

// LongestPassword is the maximum length of a password, in bytes.
const LongestPassword = 4 << 10

// Passwords holds the passwords of which a client has to give one. There may be several, so that a password can be replaced while some clients
// know only the old one and others only the new one. Members use them among each other as well. It is safe for concurrent use.
type Passwords struct{ now atomic.Pointer[passwords] }

type passwords struct {
	words []string
	sums  [][sha256.Size]byte // the hashes of words
}

// NewPasswords returns Passwords that are set to words.
func NewPasswords(words ...string) *Passwords {
	p := new(Passwords)
	p.Set(words)
	return p
}

// Set replaces all passwords by words. Connections that are authenticated already stay so.
func (p *Passwords) Set(words []string) {
	now := &passwords{words: words}
	for _, w := range words {
		now.sums = append(now.sums, sha256.Sum256([]byte(w)))
	}
	p.now.Store(now)
}

// accepts reports whether given is one of the passwords. The time that it takes reveals nothing about them except their number.
func (p *Passwords) accepts(given []byte) bool {
	sum, found := sha256.Sum256(given), 0
	for _, want := range p.now.Load().sums {
		found |= subtle.ConstantTimeCompare(sum[:], want[:])
	}
	return found == 1
}

// lock resets the connection's authentication: if there are passwords, the client must give one before anything else.
func (c *conn) lock() { c.parser.locked, c.given = c.srv.opt.Passwords != nil, "" }

// login unlocks the connection and returns true, or answers with an error and returns false.
func (c *call) login(user, password []byte) bool {
	p := c.srv.opt.Passwords
	if string(user) != defaultUser || p != nil && !p.accepts(password) {
		c.w.fail(errWrongPass)
		return false
	}
	c.conn.parser.locked = false
	if p == nil && len(password) <= LongestPassword {
		c.conn.given = string(password) // an open upstream may be in use; connect replaces it the next time
	}
	return true
}

// words returns the passwords that the leader may require. A member that requires none passes on the one that its client gave: while passwords
// are introduced or removed, member by member, the leader may require one already, or still.
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

// login tries words one by one until the leader accepts one: while passwords are being replaced, it may know others. A leader that requires no
// password accepts any.
func (u *upstream) login(words []string) (err error) {
	for _, w := range words {
		if _, err = u.ask("AUTH", defaultUser, w); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
			return err
		}
	}
	return err
}
