package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// pollPeriod is the interval at which members are asked during a wait.
const pollPeriod = 20 * time.Millisecond

// AwaitVoters calls Tend until the leader is writable and n voters have caught up with it, or ctx ends.
func (f *Fleet) AwaitVoters(ctx context.Context, n int) error {
	for {
		err := f.Tend(ctx)
		there := f.votersThere(ctx)
		if err == nil && there >= n {
			return nil
		}
		if !pause(ctx, pollPeriod) {
			return fmt.Errorf("wait for a writable leader with %d voters: %d so far: %w", n, there, errors.Join(err, ctx.Err()))
		}
	}
}

// votersThere counts the voters that have caught up with a writable leader; it returns 0 while their rule changes. A voter that
// has lost its data does not count: it comes back as another incarnation, and votes again once it is admitted as such.
func (f *Fleet) votersThere(ctx context.Context) (n int) {
	f.mu.Lock()
	r := f.record
	f.mu.Unlock()
	if r.leader < 0 || len(r.rules) != 1 {
		return 0
	}
	st, err := f.members[r.leader].Status(ctx)
	if err != nil || !st.Writable || st.Epoch != r.epoch {
		return 0
	}
	for _, v := range r.rules[0].Voters {
		if view := st.Followers[v.Member]; view.CaughtUp && view.Incarnation == v.Incarnation {
			n++
		}
	}
	return n
}

// Tend does one round of what the operator does continuously: it points followers that follow nobody at the leader, and makes
// voters of those that have caught up. It never changes the leader.
func (f *Fleet) Tend(ctx context.Context) error {
	f.lead.Lock()
	defer f.lead.Unlock()
	f.mu.Lock()
	r := f.record
	f.mu.Unlock()
	if r.leader < 0 {
		return nil
	}
	sts := f.Statuses(ctx)
	leader := sts[r.leader]
	if leader == nil || leader.Role != wire.RoleLeader || leader.Epoch != r.epoch {
		return fmt.Errorf("%s does not lead epoch %d", f.members[r.leader].Name, r.epoch)
	}
	for i, st := range sts {
		if i != r.leader && st != nil && (st.Role != wire.RoleFollower || st.Epoch != r.epoch) {
			if err := f.follow(ctx, i); err != nil {
				return err
			}
		}
	}
	if leader.Writable { // its barrier is committed: it has taken over every older leadership
		f.mu.Lock()
		f.record.binding = slices.DeleteFunc(f.record.binding, func(l replication.Leadership) bool { return l.Epoch < r.epoch })
		f.mu.Unlock()
	}
	return f.admit(ctx, leader)
}

// admit makes voters of the followers that have caught up. Both the old and the new rule hold until the new one covers everything
// committed.
func (f *Fleet) admit(ctx context.Context, leader *wire.Status) error {
	f.mu.Lock()
	r := f.record
	f.mu.Unlock()
	newest := r.rules[len(r.rules)-1]
	want := replication.Rule{K: f.opt.Sync, Voters: slices.Clone(newest.Voters)}
	for name, v := range leader.Followers {
		if !v.CaughtUp {
			continue
		}
		// A voter with the same name and another incarnation is gone for good.
		want.Voters = slices.DeleteFunc(want.Voters, func(o replication.Voter) bool { return o.Member == name })
		want.Voters = append(want.Voters, replication.Voter{Member: name, Incarnation: v.Incarnation})
	}
	slices.SortFunc(want.Voters, func(a, b replication.Voter) int { return strings.Compare(a.Member, b.Member) })
	switch {
	case len(r.rules) == 2 && (!leader.CommitCovered || leader.ConfigVersion != r.version):
		return nil // look again
	case len(r.rules) == 2:
		return f.configure(ctx, r.rules[1:])
	case slices.Equal(want.Voters, newest.Voters):
		return nil
	default:
		return f.configure(ctx, []replication.Rule{newest, want})
	}
}

// configure records rules and orders them. The leadership stays bound by every rule that it was ever told of, until it certainly
// knows the next one.
func (f *Fleet) configure(ctx context.Context, rules []replication.Rule) error {
	f.mu.Lock()
	f.record.version++
	f.record.rules = rules
	own := &f.record.binding[len(f.record.binding)-1]
	before := own.Rules
	own.Rules = append(slices.Clone(before), rules...)
	r := f.record
	f.mu.Unlock()
	leader := f.members[r.leader]
	_, err := client.Configure(ctx, leader.target(), wire.ConfigureRequest{Epoch: r.epoch, Version: r.version, Rules: rules})
	if err != nil {
		return fmt.Errorf("configure %s: %w", leader.Name, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.record.binding[len(f.record.binding)-1].Rules = rules
	return nil
}

// awaitAnswers waits until every member's control port answers. It fails if a member has exited.
func (f *Fleet) awaitAnswers(ctx context.Context) error {
	for {
		missing := ""
		for i, st := range f.Statuses(ctx) {
			if !f.Alive(i) {
				return fmt.Errorf("%s ended while starting: %v", f.members[i].Name, f.process(i).Err())
			}
			if st == nil {
				missing = f.members[i].Name
			}
		}
		if missing == "" {
			return nil
		}
		if !pause(ctx, pollPeriod) {
			return fmt.Errorf("wait for %s to answer: %w", missing, ctx.Err())
		}
	}
}

// tailOf returns the last lines of a file, or "" if there is no such file.
func tailOf(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " | ")
}

// pause waits for d. It returns false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
