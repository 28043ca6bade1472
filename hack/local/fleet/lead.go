package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Promote makes a new leader: it fences every member that answers, elects the one that holds the most, promotes it, and points the
// others at it. It returns once the new leader has its order; AwaitVoters waits for the rest.
//
// It refuses if too few members are fenced to prove that every acknowledged write is among them.
func (f *Fleet) Promote(ctx context.Context) error {
	f.lead.Lock()
	defer f.lead.Unlock()
	f.mu.Lock()
	old := f.record
	f.mu.Unlock()
	epoch := f.nextEpoch(ctx, old.epoch)
	f.mu.Lock()
	f.record.epoch = epoch // even if this attempt fails, the epoch is used up
	f.mu.Unlock()
	fenced, err := f.fence(ctx, epoch)
	if err != nil {
		return err
	}
	if err := f.provesAll(old.binding, fenced); err != nil {
		return err
	}
	chosen := elect(fenced)
	if chosen < 0 {
		return errors.New("promote a leader: no fenced member can lead")
	}
	return f.install(ctx, old, epoch, chosen, fenced)
}

// nextEpoch returns an epoch above everything recorded and everything promised.
func (f *Fleet) nextEpoch(ctx context.Context, recorded replication.Epoch) replication.Epoch {
	for _, st := range f.Statuses(ctx) {
		if st != nil {
			recorded = max(recorded, st.Promised)
		}
	}
	return recorded + 1
}

// Statuses asks every member in parallel. The entries of members that do not answer are nil.
func (f *Fleet) Statuses(ctx context.Context) []*wire.Status {
	out := make([]*wire.Status, len(f.members))
	var wg sync.WaitGroup
	for i, m := range f.members {
		wg.Go(func() {
			if st, err := m.Status(ctx); err == nil {
				out[i] = &st
			}
		})
	}
	wg.Wait()
	return out
}

// fence asks every member to promise epoch. The entries of members that do not answer are nil.
func (f *Fleet) fence(ctx context.Context, epoch replication.Epoch) ([]*wire.FenceReply, error) {
	out := make([]*wire.FenceReply, len(f.members))
	errs := make([]error, len(f.members))
	var wg sync.WaitGroup
	for i, m := range f.members {
		wg.Go(func() {
			r, err := client.Fence(ctx, m.target(), wire.FenceRequest{Epoch: epoch})
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", m.Name, err)
				return
			}
			out[i] = &r
		})
	}
	wg.Wait()
	if !slices.ContainsFunc(out, func(r *wire.FenceReply) bool { return r != nil }) {
		return nil, fmt.Errorf("fence epoch %d: %w", epoch, errors.Join(errs...))
	}
	return out, nil
}

// provesAll returns nil if no older leadership can acknowledge anything any more. If no leadership is
// known (the first start of this process), the rules are unknown, and every member must answer.
func (f *Fleet) provesAll(binding []replication.Leadership, fenced []*wire.FenceReply) error {
	if len(binding) == 0 {
		for i, r := range fenced {
			if r == nil {
				return fmt.Errorf("promote a leader: %s does not answer, and nothing is known of what it may hold", f.members[i].Name)
			}
		}
		return nil
	}
	has := func(v replication.Voter) bool {
		return slices.ContainsFunc(fenced, func(r *wire.FenceReply) bool {
			return r != nil && r.Member == v.Member && r.Incarnation == v.Incarnation && !r.Seeding
		})
	}
	for _, l := range binding {
		if !l.Fenced(has) {
			return fmt.Errorf("promote a leader: too few voters of epoch %d answer (led by %v, rules %v)", l.Epoch, l.Leader, l.Rules)
		}
	}
	return nil
}

// elect chooses among the fenced members. An empty member leads only if all of them are empty.
func elect(fenced []*wire.FenceReply) int {
	allEmpty := !slices.ContainsFunc(fenced, func(r *wire.FenceReply) bool { return r != nil && !r.Empty })
	var index []int
	var candidates []replication.Candidate
	for i, r := range fenced {
		if r == nil || r.Seeding || r.Empty && !allEmpty {
			continue
		}
		index = append(index, i)
		candidates = append(candidates, replication.Candidate{
			Voter: replication.Voter{Member: r.Member, Incarnation: r.Incarnation}, Last: r.Last, Preference: i,
		})
	}
	if best := replication.Elect(candidates); best >= 0 {
		return index[best]
	}
	return -1
}

// install promotes the chosen member and points the other fenced members at it.
func (f *Fleet) install(ctx context.Context, old record, epoch replication.Epoch, chosen int, fenced []*wire.FenceReply) error {
	leader := fenced[chosen]
	rule := replication.Rule{K: f.opt.Sync, Voters: keptVoters(old.rules, leader.Member, fenced)}
	next := record{
		epoch: epoch, leader: chosen, version: old.version + 1, rules: []replication.Rule{rule},
		binding: append(slices.Clone(old.binding), replication.Leadership{
			Epoch: epoch, Leader: replication.Voter{Member: leader.Member, Incarnation: leader.Incarnation}, Rules: []replication.Rule{rule},
		}),
	}
	f.mu.Lock()
	f.record = next // record it before the order, which may be carried out even if no answer comes
	f.mu.Unlock()
	_, err := client.Promote(ctx, f.members[chosen].target(), wire.PromoteRequest{
		Epoch: epoch, ConfigVersion: next.version, Rules: next.rules, Start: leader.Last,
		GrantWaitMillis: f.grantLeft(old, fenced), SyncTimeoutMillis: f.opt.WriteTimeout.Milliseconds(),
		LeaseDurationMillis: (10 * time.Second).Milliseconds(),
	})
	if err != nil {
		return fmt.Errorf("promote %s: %w", f.members[chosen].Name, err)
	}
	var errs []error
	for i := range f.members {
		if i != chosen && fenced[i] != nil {
			errs = append(errs, f.follow(ctx, i))
		}
	}
	return errors.Join(errs...)
}

// keptVoters returns the old voters that answered, without the new leader. The old leader becomes a voter again once it has caught
// up.
func keptVoters(rules []replication.Rule, leader string, fenced []*wire.FenceReply) []replication.Voter {
	kept := []replication.Voter{}
	for _, r := range rules {
		for _, v := range r.Voters {
			answered := slices.ContainsFunc(fenced, func(r *wire.FenceReply) bool {
				return r != nil && r.Member == v.Member && r.Incarnation == v.Incarnation && !r.Seeding
			})
			if answered && v.Member != leader && !slices.Contains(kept, v) {
				kept = append(kept, v)
			}
		}
	}
	return kept
}

// grantLeft returns the longest read window that a fenced member had granted. It returns 0 if the old leader is itself fenced, or
// its process was seen to end.
func (f *Fleet) grantLeft(old record, fenced []*wire.FenceReply) int64 {
	if old.leader >= 0 && (fenced[old.leader] != nil || !f.Alive(old.leader)) {
		return 0
	}
	var left int64
	for _, r := range fenced {
		if r != nil {
			left = max(left, r.GrantMillis)
		}
	}
	return left
}

func (f *Fleet) follow(ctx context.Context, i int) error {
	f.mu.Lock()
	r := f.record
	f.mu.Unlock()
	m, leader := f.members[i], f.members[r.leader]
	_, err := client.Follow(ctx, m.target(), wire.FollowRequest{Epoch: r.epoch, Leader: leader.Name, Address: leader.Peer})
	if err != nil {
		return fmt.Errorf("point %s at %s: %w", m.Name, leader.Name, err)
	}
	return nil
}

// logTails returns the members' last log lines, for an error message.
func (f *Fleet) logTails() string {
	var b strings.Builder
	for _, m := range f.members {
		if tail := tailOf(m.Log); tail != "" {
			fmt.Fprintf(&b, "\n%s ended its log with: %s", m.Name, tail)
		}
	}
	return b.String()
}
