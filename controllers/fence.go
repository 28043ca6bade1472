package controllers

import (
	"context"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Patience with fence answers. Members that are there answer within an fsync. Those that were already silent are not worth
// waiting for once enough have answered.
const (
	fenceGrace = 150 * time.Millisecond
	followWait = time.Second
)

// fence asks all members at once. It returns when all have answered or failed, or a short grace period after the last of
// those whose status was fresh has: what is needed is one quorum, and the next step judges whether there is one.
func (p *pass) fence(ctx context.Context, a decide.FenceMembers) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if p.answers.FencedEpoch != a.Epoch {
		p.answers.FencedEpoch, p.answers.Fences = a.Epoch, map[string]wire.FenceReply{}
	}
	type answer struct {
		member string
		reply  wire.FenceReply
		err    error
	}
	answers := make(chan answer, len(a.Members))
	expected := 0
	for _, name := range a.Members {
		if p.seen.Members[name].Probe.Reach == decide.Fresh {
			expected++
		}
		to := p.address(name) // resolved here: the pass may have looked again before a late goroutine starts
		go func() {
			reply, err := p.Nodes.Fence(ctx, to, wire.FenceRequest{Epoch: a.Epoch})
			answers <- answer{name, reply, err}
		}()
	}
	var grace <-chan time.Time
	for range a.Members {
		if expected == 0 && grace == nil {
			grace = time.After(fenceGrace)
		}
		select {
		case got := <-answers:
			if p.seen.Members[got.member].Probe.Reach == decide.Fresh {
				expected--
			}
			switch {
			case got.err != nil:
				log.FromContext(ctx).V(1).Info("Could not fence the member", keyMember, got.member, keyEpoch, a.Epoch, keyMessage, got.err.Error())
			case got.reply.Member == got.member:
				p.answers.Fences[got.member] = got.reply
			}
		case <-grace:
			return
		case <-ctx.Done():
			return
		}
	}
}

// follow sends the leading run of FollowLeader orders, all at once, and returns how many there were. Failures are left to
// the next look, which will see that a member that was not told does not follow.
func (p *pass) follow(ctx context.Context, actions []decide.Action) int {
	ctx, cancel := context.WithTimeout(ctx, followWait)
	defer cancel()
	var wg sync.WaitGroup
	n := 0
	for _, a := range actions {
		f, ok := a.(decide.FollowLeader)
		if !ok {
			break
		}
		n++
		wg.Go(func() {
			if _, err := p.Nodes.Follow(ctx, p.address(f.Member), f.Request); err != nil {
				log.FromContext(ctx).V(1).Info("Could not tell the member to follow", keyMember, f.Member, keyEpoch, f.Request.Epoch, keyMessage, err.Error())
			}
		})
	}
	wg.Wait()
	return n
}
