package replication

import (
	"errors"
	"fmt"
	"time"
)

// leading is the leader's state of one epoch.
type leading struct {
	rules    []Rule
	version  uint64
	barrier  Position
	writable bool
	// opensAt is the time before which nothing is committed, because voters may still be bound by read grants to the
	// previous leader.
	opensAt   time.Time
	since     time.Time            // when this leadership began
	followers map[string]*progress // by member name
	// ends[0] is the log's end at the last tick, ends[1] at the tick before.
	ends [2]Position
}

// progress is what the leader knows of one follower in this epoch.
type progress struct {
	voter   Voter
	address string // of its peer port; "" when unknown
	durable Position
	acked   Position // the most it has ever acknowledged, in this incarnation and epoch
	applied Position
	grant   time.Duration
	// grantedFrom is when the leader, by its own clock, sent the newest Append that was acknowledged.
	grantedFrom time.Time
	// heardAt is when the follower last began a stream or sent an Ack. Repeated Hellos do not count: they are no sign of
	// keeping up.
	heardAt time.Time
	live    bool // it has a stream now
	seeding bool
	prompt  bool // see Prompt
}

// Promotion is the operator's order to lead an epoch.
type Promotion struct {
	Epoch   Epoch
	Version uint64
	Rules   []Rule
	// Start is the durable log end on which this member was elected.
	Start Mark
	// GrantWait is what remained of the longest read grant that a voter had given to the previous leader.
	GrantWait time.Duration
}

// Promote makes this member lead p.Epoch. It appends the epoch's barrier, and counts nothing inherited as committed until
// the barrier is (Raft §5.4.2). It refuses unless exactly this epoch was promised and never joined before, not even by an
// earlier process of this directory: that process's unsynced tail may be on other members.
func (r *Replica) Promote(p Promotion, unixMilli int64, now time.Time) error {
	switch {
	case r.role == RoleLeader && r.promises.Epoch == p.Epoch:
		return nil
	case p.Epoch != r.promises.Promised:
		return refuse("NotPromised", "epoch %d is not the promised epoch %d", p.Epoch, r.promises.Promised)
	case r.promises.Epoch == p.Epoch:
		return refuse("EpochUsed", "epoch %d was already joined, led by %s: a new epoch is needed", p.Epoch, r.promises.Leader)
	case r.promises.NeedSeed:
		return refuse("NeedsSeed", "the state is incomplete: it must be seeded first")
	case r.log.Durable() != p.Start || r.log.Last() != p.Start:
		return refuse("OtherEnd", "the durable log end is %v, not %v", r.log.Durable(), p.Start)
	case len(p.Rules) == 0:
		return refuse("NoRule", "a leader needs at least one commit rule")
	}
	// Make room before saving the promise: an epoch that was joined without a barrier is used up.
	if err := r.log.Room(); errors.Is(err, ErrNoSpace) {
		return noRoom("no room for the barrier of epoch %d: %v", p.Epoch, err)
	} else if err != nil {
		return fmt.Errorf("make room for the barrier of epoch %d: %w", p.Epoch, err)
	}
	pr := r.promises
	pr.Epoch, pr.Leader, pr.Address = p.Epoch, r.opt.Self.Member, ""
	if err := r.save(pr); err != nil {
		return err
	}
	r.enter(RoleLeader)
	end := r.log.Last()
	r.lead = &leading{
		rules: p.Rules, version: p.Version, barrier: end.Position + 1, opensAt: now.Add(p.GrantWait), since: now,
		followers: map[string]*progress{}, ends: [2]Position{end.Position + 1, end.Position + 1},
	}
	barrier, err := EncodeBarrier(Seal{Epoch: p.Epoch, First: end.Position + 1, UnixMilli: unixMilli, Prev: end.Chain})
	if err == nil {
		err = r.log.Append(barrier)
	}
	if err != nil {
		return fmt.Errorf("append the barrier of epoch %d: %w", p.Epoch, err)
	}
	return nil
}

// Resign ends this member's leadership for a reason outside the protocol, such as an expired Lease. Leading again takes a
// new epoch.
func (r *Replica) Resign() {
	if r.role == RoleLeader {
		r.enter(RoleWaiting)
	}
}

// Extend seals a payload of count entries, the first at position first, and appends it to the log. After ErrNoSpace the log
// is unchanged, and the same call may be retried.
func (r *Replica) Extend(first Position, count int, payload []byte, unixMilli int64) error {
	end := r.log.Last()
	if r.role != RoleLeader || first != end.Position+1 {
		panic(fmt.Sprintf("replication: %s extends the log at %d, its end is %d", r.role, first, end.Position))
	}
	rec, err := EncodeRecord(Seal{Epoch: r.promises.Epoch, First: first, UnixMilli: unixMilli, Prev: end.Chain}, uint32(count), payload)
	if err == nil {
		err = r.log.Append(rec)
	}
	if err != nil {
		return fmt.Errorf("append at position %d: %w", first, err)
	}
	return nil
}

// Configure replaces the commit rules. If there are two, both must hold.
func (r *Replica) Configure(e Epoch, version uint64, rules []Rule, now time.Time) error {
	switch {
	case r.role != RoleLeader || r.promises.Epoch != e:
		return refuse("NotLeader", "%s in epoch %d, not the leader of epoch %d", r.role, r.promises.Epoch, e)
	case version < r.lead.version:
		return refuse("OldVersion", "configuration %d is older than %d", version, r.lead.version)
	case version == r.lead.version:
		return nil
	case len(rules) == 0:
		return refuse("NoRule", "a leader needs at least one commit rule")
	}
	r.lead.version, r.lead.rules = version, rules
	r.lead.choosePrompt()
	r.advance(now)
	return nil
}

// OnHello answers a follower that wants to join this member's epoch, or one that was sent here for a snapshot.
func (r *Replica) OnHello(h Hello, now time.Time) HelloReply {
	switch {
	case h.Store != r.opt.Store:
		return HelloReply{Verdict: VerdictRefuse, Message: fmt.Sprintf("this is a member of store %q, not of %q", r.opt.Store, h.Store)}
	case h.StoreUID != r.opt.StoreUID && h.StoreUID != "" && r.opt.StoreUID != "":
		return HelloReply{Verdict: VerdictRefuse, Message: fmt.Sprintf("this is a member of another store of the name %q: its UID is %s, not %s", r.opt.Store, r.opt.StoreUID, h.StoreUID)}
	case h.Fetch:
		return r.onFetch(h)
	case r.role != RoleLeader || h.Epoch != r.promises.Epoch:
		return HelloReply{Verdict: VerdictRefuse, Message: fmt.Sprintf("%s in epoch %d does not lead epoch %d", r.role, r.promises.Epoch, h.Epoch)}
	}
	p := r.lead.followers[h.Member]
	if p == nil || p.voter.Incarnation != h.Incarnation {
		p = &progress{heardAt: now, voter: Voter{h.Member, h.Incarnation}}
		r.lead.followers[h.Member] = p
	}
	p.live, p.grant = false, time.Duration(h.GrantMillis)*time.Millisecond
	defer r.lead.choosePrompt()
	p.address, p.applied = h.Address, 0 // a restarted state machine is behind what it last reported
	if h.Last.Position < p.acked && !h.Seed && !h.Probe {
		return r.outdated(p, h)
	}
	last := r.log.Last()
	reply := judge(h, last, r.log)
	switch p.seeding = reply.Verdict == VerdictSeed && !h.NoSeed; reply.Verdict {
	case VerdictStream:
		p.live, p.heardAt, p.durable, p.acked = true, now, h.Last.Position, h.Last.Position
		r.advance(now)
	case VerdictSeed:
		p.durable = 0
	case VerdictCut, VerdictRefuse:
	}
	return reply
}

// outdated answers a follower that no longer holds what it has acknowledged here: its volume was restored to an older
// state, or lost synced data. Nothing that its incarnation has acknowledged can be relied on any more. The Hello may also
// be a late one, from a connection that the follower has given up; so the follower compares the answer with its log.
func (r *Replica) outdated(p *progress, h Hello) HelloReply {
	p.durable = min(p.durable, h.Last.Position)
	return HelloReply{Verdict: VerdictRefuse, Acked: p.acked, Message: fmt.Sprintf(
		"%s has acknowledged position %d in epoch %d, but comes back with a log that ends at %d", p.voter, p.acked, h.Epoch, h.Last.Position)}
}

// judge compares a follower's log end with the leader's log: first by epoch, then by position, then by content.
func judge(h Hello, last Mark, log Log) HelloReply {
	epoch, end := Divergence(log.Epochs(), last.Position, h.Last)
	if (!h.Seed || h.Compare) && (h.Probe || epoch != h.Last.Epoch || h.Last.Position > end) {
		return HelloReply{Verdict: VerdictCut, Epoch: epoch, End: end}
	}
	if h.Seed || h.Last.Position+1 < log.First() {
		return HelloReply{Verdict: VerdictSeed}
	}
	if m, ok := log.MarkAt(h.Last.Position); !ok || m.Chain != h.Last.Chain {
		// The same (epoch, position) with other content: invariant 3 is broken somewhere. Never extend such a log.
		return HelloReply{Verdict: VerdictSeed, Message: fmt.Sprintf("log end %v has checksum %08x there and %08x here", h.Last, h.Last.Chain, m.Chain)}
	}
	return HelloReply{Verdict: VerdictStream}
}

// OnAck processes a follower's acknowledgement. One from another epoch or incarnation is ignored.
func (r *Replica) OnAck(from Voter, a Ack, sentAt, now time.Time) {
	if r.role != RoleLeader || a.Epoch != r.promises.Epoch {
		return
	}
	p := r.lead.followers[from.Member]
	if p == nil || p.voter != from || !p.live {
		return
	}
	p.heardAt = now
	p.durable = max(p.durable, min(a.Durable, r.log.Last().Position))
	p.acked = max(p.acked, p.durable)
	p.applied = a.Applied
	if a.Sent > 0 && sentAt.After(p.grantedFrom) { // 0: it has heard no Append yet, and so has granted nothing
		p.grantedFrom = sentAt
	}
	before := r.commit
	r.advance(now)
	if r.commit > before && !p.prompt {
		r.lead.choosePrompt() // it was sent the records last, yet completed the commit
	}
}

// OnStreamEnd notes that a follower's stream has ended. What it acknowledged stays acknowledged.
func (r *Replica) OnStreamEnd(from Voter) {
	if p := r.progressOf(from); p != nil {
		p.live = false
		r.lead.choosePrompt()
	}
}

// Streams reports whether v has a stream, so that its acknowledgements count.
func (r *Replica) Streams(v Voter) bool {
	p := r.progressOf(v)
	return p != nil && p.live
}

// OnSeedEnd notes that a follower is no longer being sent a snapshot. It may have come back and have a stream by then.
func (r *Replica) OnSeedEnd(from Voter) {
	if p := r.progressOf(from); p != nil {
		p.seeding = false
	}
}

// progressOf returns what is known of a follower in this epoch, or nil if nothing is.
func (r *Replica) progressOf(v Voter) *progress {
	if r.lead == nil {
		return nil
	}
	if p := r.lead.followers[v.Member]; p != nil && p.voter == v {
		return p
	}
	return nil
}

// Tick must be called every heartbeat interval.
func (r *Replica) Tick(now time.Time) {
	if r.lead == nil {
		return
	}
	r.lead.ends = [2]Position{r.log.Last().Position, r.lead.ends[0]}
	r.advance(now)
}

// advance moves the commit position as far as every rule allows.
func (r *Replica) advance(now time.Time) {
	l := r.lead
	if now.Before(l.opensAt) {
		return
	}
	c := Commit(l.rules, r.log.Durable().Position, l.durableOf)
	if c < l.barrier || c <= r.commit {
		return
	}
	r.commit, l.writable = c, true
}

func (l *leading) durableOf(v Voter) Position {
	if p := l.followers[v.Member]; p != nil && p.voter == v {
		return p.durable
	}
	return 0
}

// Writable reports whether the barrier of the epoch is committed, so that writes may be acknowledged.
func (r *Replica) Writable() bool { return r.lead != nil && r.lead.writable }

// ReadWindow returns for how much longer linearizable reads may be served here; <= 0 means not at all. A grant counts from
// before its Append was sent, less a tenth to allow for clocks that run at different rates.
func (r *Replica) ReadWindow(now time.Time) time.Duration {
	if !r.Writable() {
		return 0
	}
	return ReadWindow(r.lead.rules, func(v Voter) time.Duration {
		p := r.lead.followers[v.Member]
		if p == nil || p.voter != v || p.grantedFrom.IsZero() {
			return 0
		}
		return p.grantedFrom.Add(p.grant - p.grant/10).Sub(now)
	})
}

// Unheard returns for how long this leader has not heard from enough voters to commit anything; 0 when this member does not
// lead.
func (r *Replica) Unheard(now time.Time) time.Duration {
	if r.lead == nil {
		return 0
	}
	return Unheard(r.lead.rules, func(v Voter) time.Duration {
		at := r.lead.since
		if p := r.lead.followers[v.Member]; p != nil && p.voter == v && p.heardAt.After(at) {
			at = p.heardAt
		}
		return now.Sub(at)
	})
}

// Rules returns the commit rules in force and their version. A follower knows only the version, as the leader last told it.
func (r *Replica) Rules() ([]Rule, uint64) {
	if r.lead == nil {
		return nil, r.follow.version
	}
	return r.lead.rules, r.lead.version
}

// CommitCovered reports whether everything acknowledged in this epoch is held under every rule in force, so that the
// operator may drop the older of two. It is true until the barrier is committed, because nothing has been acknowledged
// before: otherwise a leader that starts with fewer voters than K could never be given enough.
func (r *Replica) CommitCovered() bool {
	return r.lead != nil && (!r.lead.writable || Commit(r.lead.rules, r.log.Durable().Position, r.lead.durableOf) >= r.commit)
}
