package node

import (
	"context"
	"time"

	"github.com/replicatedstore/replicatedstore/node/role"
)

const (
	// lookEvery is how often a member that is to leave checks whether it may.
	lookEvery = 50 * time.Millisecond
	// farewell bounds how long a member that is no longer needed keeps serving, until everybody knows. A cluster takes
	// about a second to direct new connections elsewhere, and connections that arrive here meanwhile must not be refused.
	// A pod that is deleted by force is killed after two seconds, and should have taken leave of its clients by then.
	farewell = 1500 * time.Millisecond
)

// Leave ends the node without clients noticing, as when its pod is deleted. A leader that has followers continues until
// it is relieved: it reports that it is leaving, and the operator hands over. Then it keeps serving for the farewell, and
// clients get their last replies while everything behind them still works. All of that takes less than Options.StopGrace,
// after which the process would be killed. If StopGrace is 0, Leave is Stop.
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

// untilRelieved returns when this member may leave, ctx ends, or the node ends.
func (n *Node) untilRelieved(ctx context.Context) {
	var leaving role.Leaving
	for {
		s, err := n.run.Status(ctx)
		if err != nil || leaving.May(s) {
			return
		}
		select {
		case <-ctx.Done():
			n.opt.Log.Info("no member took over leadership in time", "epoch", s.Epoch)
			return
		case <-n.ended:
			return
		case <-time.After(lookEvery):
		}
	}
}

// goesOnFor waits for d. It returns false if the node ended meanwhile.
func (n *Node) goesOnFor(d time.Duration) bool {
	select {
	case <-n.ended:
		return false
	case <-time.After(d):
		return true
	}
}
