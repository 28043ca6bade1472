// Package peers starts the servers that the store is compared with, as processes on loopback: Redis and etcd, configured for the
// same durability, and a server that stores nothing, which shows what a load generator can do.
package peers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/local/process"
)

// stopGrace is how long a server may take to exit when asked.
const stopGrace = 5 * time.Second

// group is a set of processes that start and stop together.
type group struct{ procs []*process.Process }

func (g *group) start(argv []string, log string) error {
	p, err := process.Start(argv, log)
	if err == nil {
		g.procs = append(g.procs, p)
	}
	return err
}

// Stop ends every process of the group.
func (g *group) Stop() {
	for _, p := range g.procs {
		p.Stop(stopGrace)
	}
}

// Pids returns the processes' ids. The first one is the leader's, if there is a leader.
func (g *group) Pids() (pids []int) {
	for _, p := range g.procs {
		pids = append(pids, p.Pid())
	}
	return pids
}

// await calls ready until it returns nil, a process has ended, or ctx ends.
func (g *group) await(ctx context.Context, what string, ready func() error) error {
	for {
		err := ready()
		if err == nil {
			return nil
		}
		for _, p := range g.procs {
			if !p.Alive() {
				return fmt.Errorf("%s ended while starting: %w", what, p.Err())
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, errors.Join(err, context.Cause(ctx)))
		}
	}
}
