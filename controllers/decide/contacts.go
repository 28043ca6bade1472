package decide

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

const (
	// probeAgainAfter is how soon a member that timed out or refused may be asked again within a pass, so that a dead
	// leader costs a failover one timeout rather than one per step. (A member that refuses because its machine is going
	// down times out a moment later.)
	probeAgainAfter = 2 * time.Second
	// ImpatientTimeout bounds a question to a member that timed out the last time and has been silent since. Whether it is
	// back shows quickly, and a lost leader is judged by how long nothing was heard of it, not by how patiently it was
	// asked.
	ImpatientTimeout = 250 * time.Millisecond
)

// Contacts remembers by name how the members of one store answered.
type Contacts map[string]*Contact

// Contact is what is remembered of asking one member. Different members' may be used concurrently.
type Contact struct {
	uid      types.UID // of the pod that was asked
	ip       string    // at which it can be asked now; "" if nowhere
	status   *wire.Status
	statusAt time.Time // when status was asked for
	failing  time.Time // since when it has not answered; zero while it does
	answered time.Time // when this very pod last answered
	at       string    // the address at which it did
	foreign  string    // an address at which somebody else has answered since
	askedAt  time.Time
	reach    Reach  // of the last question
	trouble  string // see Probe
}

// Of returns what is remembered of a member, whose pod is nil if it has none. Its last status outlives its pod, because it
// says how far the member was when last heard. What is known of how the previous pod answered does not.
func (cs Contacts) Of(member string, pod *Pod) *Contact {
	c := cs[member]
	if c == nil {
		c = &Contact{}
		cs[member] = c
	}
	if pod != nil && c.uid != pod.UID {
		*c = Contact{uid: pod.UID, status: c.status, statusAt: c.statusAt, failing: c.failing, askedAt: c.askedAt}
	}
	if c.ip = ""; pod != nil {
		c.ip = pod.IP
	}
	return c
}

// Answers reports whether a member answered when it was last asked.
func (cs Contacts) Answers(member string) bool {
	c := cs[member]
	return c != nil && c.status != nil && c.failing.IsZero()
}

// Spare returns the answer for a member that need not be asked: it has no address, or it timed out or refused a moment ago
// in the pass that began at began. heard is when the member's stream last said something, the zero time if never.
func (c *Contact) Spare(began, now, heard time.Time) (p Probe, spared bool) {
	switch {
	case c.ip == "":
		return c.failed(Unknown, now, time.Time{}), true
	case (c.reach == TimedOut || c.reach == Refused) && now.Sub(c.askedAt) < probeAgainAfter && !c.askedAt.Before(began):
		return c.failed(c.reach, now, heard), true
	default:
		return Probe{}, false
	}
}

// Ask is called when the member is asked. It reports whether the question is impatient (ImpatientTimeout): the member timed
// out last time, and its stream has been silent since. A member that talks but answers slowly gets the full time again:
// otherwise it would time out forever.
func (c *Contact) Ask(now, heard time.Time) (impatient bool) {
	impatient = c.reach == TimedOut && !heard.After(c.askedAt)
	c.askedAt = now
	return impatient
}

// Answered remembers the member's own answer to the question.
func (c *Contact) Answered(s wire.Status, now time.Time) Probe {
	*c = Contact{uid: c.uid, ip: c.ip, status: &s, statusAt: c.askedAt, askedAt: c.askedAt, answered: now, at: c.ip, reach: Fresh}
	return Probe{Reach: Fresh, Status: c.status, Met: true}
}

// Misdirected remembers that somebody else answered at the member's address, which says nothing about the member.
func (c *Contact) Misdirected(now, heard time.Time) Probe {
	c.foreign = c.ip
	return c.Failed(Unknown, "", now, heard)
}

// Failed remembers that the question ended without an answer. trouble is why the member cannot tell its status; "" unless it
// says so.
func (c *Contact) Failed(r Reach, trouble string, now, heard time.Time) Probe {
	c.reach, c.trouble = r, trouble
	return c.failed(r, now, heard)
}

func (c *Contact) failed(r Reach, now, heard time.Time) Probe {
	if c.failing.IsZero() {
		c.failing = now
		if r == TimedOut {
			c.failing = c.askedAt
		}
	}
	last := c.answered
	if heard.After(last) {
		last = heard
	}
	p := Probe{
		Reach: r, Trouble: c.trouble, Status: c.status, Age: now.Sub(c.statusAt), For: now.Sub(c.failing), Met: !c.answered.IsZero(),
		Unmet: c.ip != "" && c.ip != c.at, Foreign: c.ip != "" && c.ip == c.foreign,
	}
	if p.Silent = p.For; !last.IsZero() {
		p.Silent = max(p.For, now.Sub(last))
	}
	return p
}
