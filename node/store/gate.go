package store

import "sync/atomic"

// gate admits users until it is closed; close waits for those inside. Unlike an RWMutex, it can be entered again by
// someone who is already inside, even while close waits (the attempt fails then, but never blocks).
//
// Order: enter counts first and checks closed second; close sets closed first and checks the count second. So one of the
// two always sees the other.
type gate struct {
	users  atomic.Int64
	closed atomic.Bool
	left   chan struct{} // cap 1: the last user has left since close began
}

func (g *gate) init() { g.left = make(chan struct{}, 1) }

// enter reports whether the caller may go in; if so, it must call leave.
func (g *gate) enter() bool {
	g.users.Add(1)
	if g.closed.Load() {
		g.leave()
		return false
	}
	return true
}

func (g *gate) leave() {
	if g.users.Add(-1) == 0 && g.closed.Load() {
		select {
		case g.left <- struct{}{}:
		default:
		}
	}
}

// close returns true once nobody is inside; false if the gate was closed before.
func (g *gate) close() bool {
	if g.closed.Swap(true) {
		return false
	}
	for g.users.Load() != 0 {
		<-g.left
	}
	return true
}
