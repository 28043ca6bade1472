package store

import "sync/atomic"

// gate lets users in until it is closed; close waits for those inside. Unlike a RWMutex it can be entered again by who is
// inside already, also while close waits (it is refused then, never stuck).
//
// Order: enter counts first and looks at closed second, close sets closed first and looks at the count second; so one of
// the two always sees the other.
type gate struct {
	users  atomic.Int64
	closed atomic.Bool
	left   chan struct{} // cap 1: the last user left after close began
}

func (g *gate) init() { g.left = make(chan struct{}, 1) }

// enter reports whether the caller may go in; then it must call leave.
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

// close returns once nobody is inside; false when it was closed before.
func (g *gate) close() bool {
	if g.closed.Swap(true) {
		return false
	}
	for g.users.Load() != 0 {
		<-g.left
	}
	return true
}
