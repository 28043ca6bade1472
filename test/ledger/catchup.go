package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// pollPeriod is the interval at which members are asked whether they have caught up.
const pollPeriod = 50 * time.Millisecond

// catchUp waits until exactly one of members leads and every other member follows it: connected, and at or beyond the position
// that the leader had when it was first asked in this leadership. The error says what was missing when ctx ended.
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
		if !over(ctx) || missing == "" { // a member that was being asked when ctx ended had no time to answer
			missing = now
		}
		if Sleep(ctx, pollPeriod); ctx.Err() != nil {
			return fmt.Errorf("wait until every member has caught up: %s: %w", missing, context.Cause(ctx))
		}
	}
}

// over reports whether ctx has ended or its deadline has passed. Connections have the same deadline, and may report it first.
func over(ctx context.Context) bool {
	end, ends := ctx.Deadline()
	return ctx.Err() != nil || ends && !time.Now().Before(end)
}

// goal is the position to reach: the leader's end when it was first seen.
type goal struct {
	leader string
	offset int64
}

// missing says briefly why the goal is not reached. It returns "" if it is.
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

// role is a member's reply to Redis's ROLE command.
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
