package resptest

import (
	"context"
	"fmt"
	"net"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
)

// Status implements resp.Backend.
func (n *Node) Status() resp.Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	st := resp.Status{
		Store: "test", Member: n.Addr, Incarnation: "1", Role: resp.RoleWaiting, Epoch: n.epoch,
		Last: n.end, Durable: n.end.Position, Commit: n.end.Position, Applied: n.end,
	}
	switch {
	case n.leads.Load():
		st.Role, st.Writable = resp.RoleLeading, true
		for i, f := range n.followers {
			host, port := f.hostPort()
			st.Followers = append(st.Followers, resp.Follower{Member: fmt.Sprintf("f%d", i), Host: host, Port: port,
				Acked: n.end.Position, Applied: n.end.Position, Link: resp.LinkConnected})
		}
	case n.leader != nil:
		st.Role, st.Link = resp.RoleFollowing, resp.LinkConnected
		st.LeaderHost, st.LeaderPort = n.leader.hostPort()
	}
	return st
}

func (n *Node) hostPort() (string, int) {
	a, err := net.ResolveTCPAddr("tcp", n.Addr)
	if err != nil {
		n.t.Fatal(err)
	}
	return a.IP.String(), a.Port
}

// Machine implements resp.Backend.
func (n *Node) Machine() *store.Machine { return n.machine.Load() }

// Sequencer implements resp.Backend.
func (n *Node) Sequencer() *store.Sequencer { return n.seq.Load() }

// ReadGate implements resp.Backend.
func (n *Node) ReadGate(context.Context) error {
	if f := n.onGate.Swap(nil); f != nil {
		(*f)()
	}
	if err := n.gate.Load(); err != nil {
		return *err
	}
	return nil
}

// MustProve implements resp.Backend.
func (n *Node) MustProve() bool { return true }

// Acknowledged implements resp.Backend: followers apply at once.
func (n *Node) Acknowledged(p replication.Position) (bool, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case p > n.end.Position:
		return false, 0
	case n.lagging && p > n.held:
		return true, 0
	default:
		return true, len(n.followers)
	}
}

// WaitAcknowledged implements resp.Backend. It always waits until ctx ends: followers apply at once, so no more acknowledgements will come.
func (n *Node) WaitAcknowledged(ctx context.Context, p replication.Position, _ bool, _ int) (bool, int) {
	<-ctx.Done()
	return n.Acknowledged(p)
}

// Shown implements resp.Backend.
func (n *Node) Shown() replication.Mark {
	n.mu.Lock()
	defer n.mu.Unlock()
	return replication.Mark{Epoch: n.epoch, Position: n.end.Position}
}

// Holds implements resp.Backend. A node holds everything that others have shown, except after Forget.
func (n *Node) Holds(replication.Mark) (holds, leads bool) { return !n.forgot.Load(), n.leads.Load() }

// SetActiveExpire implements resp.Backend.
func (n *Node) SetActiveExpire(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.expires = on
}

// Elect makes the node a leader that does not take writes yet, until Lead.
func (n *Node) Elect() { n.leads.Store(true) }
