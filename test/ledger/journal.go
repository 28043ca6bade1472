package ledger

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Outcome is the outcome of a write, as far as its client can know it.
type Outcome uint8

const (
	Acknowledged Outcome = iota + 1
	Failed               // it cannot have happened
	Unknown              // it may have happened, or may still happen
)

func (o Outcome) String() string {
	switch o {
	case Acknowledged:
		return "acknowledged"
	case Failed:
		return "failed"
	case Unknown:
		return "unknown"
	default:
		return "Outcome(" + strconv.Itoa(int(o)) + ")"
	}
}

// write is one write in flight.
type write struct {
	number     uint64
	connection int
	kind       Kind
	key        *history
	begun      time.Time
}

// ack is an acknowledged write.
type ack struct {
	number uint64
	at     time.Time
}

// history is every write to one key, in order. The name never changes; the other fields are guarded by journal.mu.
type history struct {
	name    string
	kind    Kind
	acked   []ack
	failed  []uint64
	unknown uint64 // the last write if its outcome is unknown, which retires the key; else 0
	short   int64  // Count: the most by which a reply was too low
	over    int64  // Count: the most by which a reply was too high
}

// journal remembers the writes of one Writer. It is safe for concurrent use.
type journal struct {
	writer string
	slots  int // Overwrite keys per connection

	mu    sync.Mutex
	last  uint64 // number of the newest write
	keys  []*history
	open  map[string]*history // the current key of each slot
	made  map[string]int      // how many names each slot has had
	tally Tally
	gaps  Gaps
}

// Tally counts writes by outcome.
type Tally struct {
	Acknowledged int64 `json:"acknowledged"`
	Failed       int64 `json:"failed"`
	Unknown      int64 `json:"unknown"`
	// LastError is the reason of the newest failed or unknown write.
	LastError string `json:"lastError,omitempty"`
	// Errors describes the newest failed or unknown writes, oldest first. It has at most toldErrors entries.
	Errors []string `json:"errors,omitempty"`
}

const toldErrors = 16

func newJournal(writer string, slots int) *journal {
	return &journal{writer: writer, slots: slots, open: map[string]*history{}, made: map[string]int{}}
}

// begin numbers a connection's next write and chooses its key.
func (j *journal) begin(connection int, kind Kind, at time.Time) write {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	w := write{number: j.last, connection: connection, kind: kind, begun: at}
	slot := fmt.Sprintf("ledger:{%s:%d}:%s", j.writer, connection, kind)
	switch kind {
	case Overwrite:
		slot += ":" + strconv.FormatUint(w.number%uint64(j.slots), 10)
	case Unique:
		slot += ":" + strconv.FormatUint(w.number, 10)
	case Count:
	}
	if w.key = j.open[slot]; w.key == nil || w.key.unknown != 0 {
		j.made[slot]++
		w.key = &history{name: slot + ":" + strconv.Itoa(j.made[slot]), kind: kind}
		j.keys = append(j.keys, w.key)
		j.open[slot] = w.key
	}
	if kind == Unique { // its slot is never used again
		delete(j.open, slot)
		delete(j.made, slot)
	}
	return w
}

// end records the outcome of w. count is the reply to an acknowledged Count.
func (j *journal) end(w write, o Outcome, count int64, err error, at time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch o {
	case Acknowledged:
		j.tally.Acknowledged++
		w.key.acked = append(w.key.acked, ack{w.number, at})
		if w.kind == Count {
			off := int64(len(w.key.acked)) - count
			w.key.short, w.key.over = max(w.key.short, off), max(w.key.over, -off)
		}
		j.gaps.Acknowledged(at)
	case Failed:
		j.tally.Failed++
		w.key.failed = append(w.key.failed, w.number)
	case Unknown:
		j.tally.Unknown++
		w.key.unknown = w.number
	}
	if err != nil {
		j.tally.LastError = err.Error()
		told := fmt.Sprintf("%s connection %d: %s %s after %v: %v",
			at.Format("15:04:05.000"), w.connection, w.kind, o, at.Sub(w.begun).Round(time.Millisecond), err)
		j.tally.Errors = append(slices.Clone(j.tally.Errors[max(0, len(j.tally.Errors)-toldErrors+1):]), told)
	}
}

// finding is what one key on one member shows.
type finding struct {
	lost    []ack // acknowledged and not there, oldest first
	phantom bool  // present, though it failed or nobody wrote it
}

// judge compares what a key holds (ok is false if it is absent) with the writes to it. No write may be in flight.
func (h *history) judge(writer, held string, ok bool) finding {
	if h.kind == Count {
		return h.judgeCount(held, ok)
	}
	if !ok {
		return finding{lost: h.acked}
	}
	number, mine := parseValue(writer, held)
	switch {
	case !mine:
		return finding{lost: h.newest(1), phantom: true}
	case slices.Contains(h.failed, number): // it may rightly have replaced the last acknowledged one, in its own place in the order
		return finding{lost: slices.DeleteFunc(h.newest(1), func(a ack) bool { return a.number < number }), phantom: true}
	case h.unknown != 0 && number == h.unknown:
		return finding{}
	}
	at := slices.IndexFunc(h.acked, func(a ack) bool { return a.number == number })
	if at < 0 { // a number that was never written to this key
		return finding{lost: h.newest(1), phantom: true}
	}
	return finding{lost: h.acked[at+1:]}
}

func (h *history) judgeCount(held string, ok bool) finding {
	n := int64(0)
	if ok {
		var err error
		if n, err = strconv.ParseInt(held, 10, 64); err != nil || n <= 0 {
			return finding{lost: h.acked, phantom: true}
		}
	}
	least, most := int64(len(h.acked)), int64(len(h.acked))
	if h.unknown != 0 {
		most++
	}
	// A reply that was too low proves a forgotten increment, even if a failed one that took effect later makes up for it.
	short := max(least-n, h.short)
	return finding{lost: h.newest(int(max(short, 0))), phantom: n > most || h.over > 0}
}

// newest returns the n newest acknowledged writes, or fewer if there are fewer.
func (h *history) newest(n int) []ack { return slices.Clone(h.acked[max(0, len(h.acked)-n):]) }
