package node

import (
	"context"
	"time"

	"github.com/replicatedstore/replicatedstore/node/role"
)

const (
	// lookEvery is how often a member that is to leave looks whether it may.
	lookEvery = 50 * time.Millisecond
	// farewell is for how long at most a member that is not needed any more goes on serving, until everybody knows: a cluster
	// takes about a second to lead new connections elsewhere, and one that comes here meanwhile must not be refused. A pod that is
	// deleted by force is killed after two seconds, and should have taken its leave of clients by then.
	farewell = 1500 * time.Millisecond
)

// Leave ends the node so that clients notice nothing, as when its pod is deleted. A leader that has followers goes on until it is
// relieved: it says that it is to go, and the operator hands over. Then there is a farewell, and clients get their last replies
// while everything behind them still works. All of it stays below Options.StopGrace, after which the process would be killed; 0
// is Stop.
func (n *Node) Leave() error {
	grace := n.opt.StopGrace
	if grace <= 0 {
		return n.Stop()
	}
	n.run.Leaves()
	relief, cancel := context.WithTimeout(context.Background(), grace/3)
	defer cancel()
	n.untilRelieved(relief)
	if n.goesOnFor(min(farewell, grace/10)) {
		last, cancel := context.WithTimeout(context.Background(), min(lastReplies, grace/6))
		defer cancel()
		if err := n.clients.Shutdown(last); err != nil {
			n.opt.Log.Info("clients were cut off", "error", err.Error())
		}
	}
	return n.Stop()
}

// untilRelieved returns when this member may leave, when ctx ends, or when the node does.
func (n *Node) untilRelieved(ctx context.Context) {
	var leaving role.Leaving
	for {
		s, err := n.run.Status(ctx)
		if err != nil || leaving.May(s) {
			return
		}
		select {
		case <-ctx.Done():
			n.opt.Log.Info("nobody took over leadership in time", "epoch", s.Epoch)
			return
		case <-n.ended:
			return
		case <-time.After(lookEvery):
		}
	}
}

// goesOnFor waits; false when the node has ended meanwhile.
func (n *Node) goesOnFor(d time.Duration) bool {
	select {
	case <-n.ended:
		return false
	case <-time.After(d):
		return true
	}
}
