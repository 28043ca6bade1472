package load

import (
	"fmt"
	"sync"
	"time"
)

// registers hands out the keys in use. There are few at a time, so that clients contend, and each is used for a short time, so
// that its history can be checked. It is safe for concurrent use.
type registers struct {
	run       string
	rotate    time.Duration
	leastOpen int

	mu    sync.Mutex
	slots []register
	all   []string
}

type register struct {
	key   string
	made  int // generations
	begun time.Time
	open  int // operations of unknown outcome on key
}

func newRegisters(o Options) *registers {
	return &registers{run: o.Run, rotate: o.Rotate, leastOpen: o.LeastOpen, slots: make([]register, o.Slots)}
}

// key returns a slot's key at the time now.
func (r *registers) key(slot int, now time.Time) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.slots[slot]
	if s.key == "" || now.Sub(s.begun) >= r.rotate || s.open >= r.leastOpen {
		*s = register{key: fmt.Sprintf("register:%s:%d:%d", r.run, slot, s.made+1), made: s.made + 1, begun: now}
		r.all = append(r.all, s.key)
	}
	return s.key
}

// opened records that an operation on a key will stay open.
func (r *registers) opened(slot int, key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := &r.slots[slot]; s.key == key {
		s.open++
	}
}

// keys returns all keys that were ever handed out.
func (r *registers) keys() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.all...)
}
