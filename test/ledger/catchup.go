package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// pollPeriod is how often members are asked whether they have caught up.
const pollPeriod = 50 * time.Millisecond

// catchUp waits until exactly one of members leads and every other follows it, connected, at or beyond the position that
// the leader had when it was asked first in its leadership. The error names what was missing when ctx ended.
func catchUp(ctx context.Context, members []Member, opt Options) error {
	clients := make([]*redis.Client, len(members))
	for i, m := range members {
		clients[i] = opt.client(m.Address, 2*time.Second)
		defer clients[i].Close()
	}
	target, missing := goal{}, ""
	for {
		now := target.missing(ctx, members, clients)
		if now == "" {
			return nil
		}
		if !over(ctx) || missing == "" { // whoever was being asked when ctx ended had no time to answer
			missing = now
		}
		if Sleep(ctx, pollPeriod); ctx.Err() != nil {
			return fmt.Errorf("wait until every member has caught up: %s: %w", missing, context.Cause(ctx))
		}
	}
}

// over tells whether ctx has ended, or is to end by now: connections have the same deadline, and may tell of it first.
func over(ctx context.Context) bool {
	end, ends := ctx.Deadline()
	return ctx.Err() != nil || ends && !time.Now().Before(end)
}

// goal is the position to reach: the leader's end when it was first seen.
type goal struct {
	leader string
	offset int64
}

// missing says in a few words why the goal is not reached; "" when it is.
func (g *goal) missing(ctx context.Context, members []Member, clients []*redis.Client) string {
	roles := make([]role, len(members))
	var leaders []string
	for i, m := range members {
		r, err := askRole(ctx, clients[i])
		if err != nil {
			return fmt.Sprintf("%s does not answer: %v", m.Name, err)
		}
		if roles[i] = r; r.leads {
			leaders = append(leaders, m.Name)
			if g.leader != m.Name {
				*g = goal{leader: m.Name, offset: r.offset}
			}
		}
	}
	if len(leaders) != 1 {
		return fmt.Sprintf("%d members lead (%s)", len(leaders), strings.Join(leaders, ", "))
	}
	for i, r := range roles {
		if !r.leads && (r.link != "connected" || r.offset < g.offset) {
			return fmt.Sprintf("%s is %s at %d of %d", members[i].Name, r.link, r.offset, g.offset)
		}
	}
	return ""
}

// role is what a member answers to Redis's ROLE.
type role struct {
	leads  bool
	link   string // follower
	offset int64
}

func askRole(ctx context.Context, c *redis.Client) (role, error) {
	reply, err := c.Do(ctx, "ROLE").Slice()
	if err != nil {
		return role{}, err
	}
	fields := func(i int) any {
		if i < len(reply) {
			return reply[i]
		}
		return nil
	}
	switch fields(0) {
	case "master":
		if offset, ok := fields(1).(int64); ok {
			return role{leads: true, offset: offset}, nil
		}
	case "slave":
		link, linkOK := fields(3).(string)
		if offset, ok := fields(4).(int64); ok && linkOK {
			return role{link: link, offset: offset}, nil
		}
	}
	return role{}, fmt.Errorf("ROLE answers %v", reply)
}
