package sim

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/replicatedstore/replicatedstore/replication"
)

// Kind is what a client asks of a key.
type Kind uint8

const (
	// Get reads the value; "" is that of a key which nobody wrote.
	Get Kind = iota
	// Put writes a value, which no other operation on the key writes.
	Put
	// Swap writes one like Put, and reads the value before.
	Swap
)

func (k Kind) String() string {
	switch k {
	case Get:
		return "get"
	case Put:
		return "put"
	case Swap:
		return "swap"
	default:
		return "invalid"
	}
}

// History is what clients did and were answered, and what the members made of it.
type History struct {
	now   func() time.Duration
	ops   []*Op
	order []write // committed writes, by position; nothing at positions that wrote no key
	reads []followerRead
	conns map[int]replication.Position // the newest state each connection has seen
	found []string                     // what was wrong at once
}

// Op is one operation of a client. It is open until one of its methods is called, and its outcome is then unknown.
type Op struct {
	h      *History
	client int
	kind   Kind
	key    string
	value  string // written
	read   string
	call   time.Duration
	ret    time.Duration
	state  outcome
}

type outcome uint8

const (
	unknown outcome = iota
	succeeded
	failed
)

// write is a committed write.
type write struct {
	position   replication.Position
	key, value string
}

type followerRead struct {
	conn   int
	member string
	write  // what was read, at the position that the member had applied
	at     time.Duration
}

// NewHistory returns an empty history on a loop's time.
func (l *Loop) NewHistory() *History {
	return &History{now: l.Now, conns: map[int]replication.Position{}}
}

// Invoke begins an operation. A client that does not learn the outcome of one must go on under another number, as the
// operation may still happen.
func (h *History) Invoke(client int, kind Kind, key, value string) *Op {
	o := &Op{h: h, client: client, kind: kind, key: key, value: value, call: h.now()}
	h.ops = append(h.ops, o)
	return o
}

// Return ends the operation with success; read is what a Get or Swap was answered.
func (o *Op) Return(read string) { o.end(succeeded, read) }

// Fail ends it with the certainty that it did not happen, and never will.
func (o *Op) Fail() { o.end(failed, "") }

// Unknown ends it without an outcome: it may have happened, or happen yet.
func (o *Op) Unknown() { o.end(unknown, "") }

func (o *Op) end(s outcome, read string) {
	o.state, o.read, o.ret = s, read, o.h.now()
}

// Count is how many operations succeeded, did not happen, and are of unknown outcome.
func (h *History) Count() (ok, not, maybe int) {
	for _, o := range h.ops {
		switch o.state {
		case succeeded:
			ok++
		case failed:
			not++
		default:
			maybe++
		}
	}
	return ok, not, maybe
}

// String is one line, for people.
func (o *Op) String() string {
	end, what := "     ?    ", string("")
	switch o.state {
	case succeeded:
		end, what = fmt.Sprintf("%10.4f", o.ret.Seconds()), fmt.Sprintf(" -> %q", o.read)
		if o.kind == Put {
			what = " done"
		}
	case failed:
		end, what = fmt.Sprintf("%10.4f", o.ret.Seconds()), " failed"
	default:
	}
	if o.kind == Get {
		return fmt.Sprintf("%10.4f .. %s  client %3d  get %s%s", o.call.Seconds(), end, o.client, o.key, what)
	}
	return fmt.Sprintf("%10.4f .. %s  client %3d  %v %s %q%s", o.call.Seconds(), end, o.client, o.kind, o.key, o.value, what)
}

// register is the model of one key. The state is its value.
var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		o := input.(*Op)
		switch {
		case o.kind == Get:
			return o.read == state.(string), state
		case o.kind == Swap && o.state == succeeded:
			return o.read == state.(string), o.value
		default:
			return true, o.value
		}
	},
}

// Check says what is wrong with the history; nil when nothing is. The search is exponential at worst, and is given up for a key
// after limit of real time: then Check says that too, as undecided.
func (h *History) Check(limit time.Duration) (problems []string, undecided []string) {
	problems = append(problems, h.found...)
	for _, key := range h.keys() {
		ops := h.relevant(key)
		switch porcupine.CheckOperationsTimeout(register, ops, limit) {
		case porcupine.Ok:
		case porcupine.Illegal:
			problems = append(problems, fmt.Sprintf("the operations on %s are not linearizable:\n%s", key, h.describe(key)))
		default:
			undecided = append(undecided, key)
		}
	}
	return append(problems, h.checkReads()...), undecided
}

func (h *History) keys() []string {
	var keys []string
	for _, o := range h.ops {
		keys = append(keys, o.key)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// relevant is what the check of a key needs. A read without an answer says nothing; nor does a write of unknown outcome whose
// value nobody read: if there is an order with it there is one without it. Left in, such writes make the search slow.
func (h *History) relevant(key string) (ops []porcupine.Operation) {
	read := map[string]bool{}
	for _, o := range h.ops {
		if o.key == key && o.state == succeeded && o.kind != Put {
			read[o.read] = true
		}
	}
	for _, o := range h.ops {
		if o.key != key || o.state == failed || o.state == unknown && (o.kind == Get || !read[o.value]) {
			continue
		}
		ret := int64(o.ret)
		if o.state == unknown {
			ret = math.MaxInt64
		}
		ops = append(ops, porcupine.Operation{ClientId: o.client, Input: o, Call: int64(o.call), Return: ret})
	}
	return ops
}

func (h *History) describe(key string) string {
	var b strings.Builder
	for _, o := range h.ops {
		if o.key == key {
			b.WriteString(o.String())
			b.WriteByte('\n')
		}
	}
	for _, w := range h.order {
		if w.key == key {
			fmt.Fprintf(&b, "committed at %d: %q\n", w.position, w.value)
		}
	}
	return b.String()
}
