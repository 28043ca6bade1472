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

// History records the operations that clients did on registers with their answers, and the writes that members committed. A
// register starts at 0, and no value is written to it twice.
type History struct {
	now   func() time.Duration
	ops   []*Op
	order []applied // by position; no entry for positions that write no register
	looks []look
	seen  map[string]replication.Position // the newest state that each reader has seen
	found []string                        // violations found immediately
}

// Op is one operation of a client. Until it ends, and after Unknown, its outcome is unknown: it may still take effect.
type Op struct {
	h         *History
	client    int
	key       byte
	write     bool
	value     uint64 // written or read
	call, ret time.Duration
	state     outcome
}

type outcome uint8

const (
	unknown outcome = iota
	succeeded
	failed
)

// NewHistory returns an empty history that uses the loop's time.
func (l *Loop) NewHistory() *History {
	return &History{now: l.Now, seen: map[string]replication.Position{}}
}

// Put begins a write. The value must be unique for this register.
func (h *History) Put(client int, key byte, value uint64) *Op {
	return h.invoke(Op{client: client, key: key, write: true, value: value})
}

// Get begins a read.
func (h *History) Get(client int, key byte) *Op { return h.invoke(Op{client: client, key: key}) }

func (h *History) invoke(o Op) *Op {
	o.h, o.call = h, h.now()
	h.ops = append(h.ops, &o)
	return &o
}

// Done ends an acknowledged write.
func (o *Op) Done() { o.end(succeeded) }

// Read ends a read that returned value.
func (o *Op) Read(value uint64) {
	o.value = value
	o.end(succeeded)
}

// Failed ends an operation that did not happen and never will.
func (o *Op) Failed() { o.end(failed) }

// Unknown ends an operation that may have happened, or may still happen.
func (o *Op) Unknown() { o.end(unknown) }

func (o *Op) end(s outcome) { o.state, o.ret = s, o.h.now() }

// Count returns how many operations succeeded, did not happen, and have an unknown outcome.
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

// String formats the operation as one line.
func (o *Op) String() string {
	what, end := fmt.Sprintf("read  %d", o.value), fmt.Sprintf("%10.4fs", o.ret.Seconds())
	switch {
	case o.write:
		what = fmt.Sprintf("wrote %d", o.value)
	case o.state != succeeded:
		what = "read"
	}
	switch o.state {
	case failed:
		what += ", failed"
	case unknown:
		end = strings.Repeat(" ", 10) + "?"
	default:
	}
	return fmt.Sprintf("%10.4fs .. %s  client %2d %s", o.call.Seconds(), end, o.client, what)
}

// register is the porcupine model of one key.
var register = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, input, _ any) (bool, any) {
		o := input.(*Op)
		if o.write {
			return true, o.value
		}
		return o.value == state.(uint64), state
	},
}

// Check returns what is wrong with the history; it is linearizable if problems is empty. The search is exponential in the worst
// case. Check gives up on a register after limit of real time (0: never) and reports it as undecided.
func (h *History) Check(limit time.Duration) (problems []string, undecided []byte) {
	problems = append(problems, h.found...)
	for _, key := range h.keys() {
		switch porcupine.CheckOperationsTimeout(register, h.relevant(key), limit) {
		case porcupine.Ok:
		case porcupine.Illegal:
			problems = append(problems, fmt.Sprintf("the operations on register %d are not linearizable:\n%s", key, h.describe(key)))
		default:
			undecided = append(undecided, key)
		}
	}
	return append(problems, h.checkLooks()...), undecided
}

func (h *History) keys() []byte {
	var keys []byte
	for _, o := range h.ops {
		keys = append(keys, o.key)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// relevant returns the operations that the check of a register needs. It leaves out reads without an answer, which say nothing,
// and writes of unknown outcome whose value nobody read: if there is a linearization with such a write, there is one without it.
// Leaving them in would make the search slow.
func (h *History) relevant(key byte) (ops []porcupine.Operation) {
	read := map[uint64]bool{}
	for _, o := range h.ops {
		if o.key == key && !o.write && o.state == succeeded {
			read[o.value] = true
		}
	}
	for _, o := range h.ops {
		ret := int64(o.ret)
		switch {
		case o.key != key, o.state == failed, o.state == unknown && !(o.write && read[o.value]):
			continue
		case o.state == unknown:
			ret = math.MaxInt64
		}
		ops = append(ops, porcupine.Operation{ClientId: o.client, Input: o, Call: int64(o.call), Return: ret})
	}
	return ops
}

func (h *History) describe(key byte) string {
	var b strings.Builder
	for _, o := range h.ops {
		if o.key == key {
			b.WriteString(o.String())
			b.WriteByte('\n')
		}
	}
	for _, w := range h.order {
		if w.key == key {
			fmt.Fprintf(&b, "position %d writes %d\n", w.position, w.value)
		}
	}
	return b.String()
}
