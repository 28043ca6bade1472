package mutation

// mutation is one broken rule.
type mutation struct {
	name string
	// breaks names the rule, in the words of docs/protocol.md.
	breaks string
	edits  []edit
}

// edit is one change of a file: it replaces was, which must occur exactly once, with is.
type edit struct{ file, was, is string }

// The source files.
const (
	leaderGo   = "replication/leader.go"
	followerGo = "replication/follower.go"
	replicaGo  = "replication/replica.go"
	metaGo     = "replication/meta/state.go"
	quorumGo   = "replication/quorum.go"
	memberGo   = "node/role/member.go"
	roleGo     = "node/role/leader.go"
	seedGo     = "node/role/seed.go"
	sourceGo   = "replication/snapshot/source.go"
	receiveGo  = "replication/snapshot/receive.go"
	evidenceGo = "controllers/decide/evidence.go"
	failoverGo = "controllers/decide/failover.go"
	votersGo   = "controllers/decide/voters.go"
	recordGo   = "controllers/decide/record.go"
	walSyncGo  = "replication/wal/sync.go"
	observedGo = "controllers/decide/observed.go"
	rereadGo   = "controllers/decide/reread.go"
)

// mutations lists the mutations, in the order of the protocol.
var mutations = []mutation{
	{
		"ack before fsync", "a follower acknowledges what is durable there",
		[]edit{{followerGo,
			"Durable: r.log.Durable().Position, Applied",
			"Durable: r.log.Last().Position, Applied"}},
	},
	{
		"commit before own fsync", "acknowledged means durable on the leader too",
		[]edit{{leaderGo,
			"c := Commit(l.rules, r.log.Durable().Position, l.durableOf)\n\tif c < l.barrier",
			"c := Commit(l.rules, r.log.Last().Position, l.durableOf)\n\tif c < l.barrier"}},
	},
	{
		"fsync that does nothing", "durable means fsynced",
		[]edit{{walSyncGo,
			"if err := s.syncFile.SyncData(); err != nil {\n\t\treturn l.Durable(), l.fail(",
			"if err := error(nil); err != nil {\n\t\treturn l.Durable(), l.fail("}},
	},
	{
		"failed fsync ignored", "a failed fsync ends the process",
		[]edit{{memberGo,
			"if m.final(err) != nil {\n\t\treturn\n\t}\n\tm.core.OnDurable",
			"if err != nil {\n\t\treturn\n\t}\n\tm.core.OnDurable"}},
	},
	{
		"promise not persisted", "promises survive power loss",
		[]edit{{replicaGo,
			"p.Promised = e\n\treturn r.save(p)",
			"p.Promised = e\n\tr.promises = p\n\treturn nil"}},
	},
	{
		// META refuses to lower a promise, too.
		"late order obeyed", "nothing below the promised epoch is taken part in again",
		[]edit{
			{replicaGo, "case e < p.Promised:\n\t\treturn refuse(\"Promised\", \"epoch %d is below the promised epoch %d\", e, p.Promised)\n\tcase leader", "case leader"},
			{metaGo, "case next.Promises.Promised < s.Promises.Promised:", "case false:"},
		},
	},
	{
		"fence answered without a sync", "a fence answer tells what is durable",
		[]edit{{replicaGo,
			"last, err := r.log.Sync()",
			"last, err := r.log.Last(), error(nil)"}},
	},
	{
		// Both guards are broken, because the second alone catches every restarted leader that still has a record of its own.
		"epoch led twice", "a restarted leader needs a new epoch, and starts from the end on which it was elected",
		[]edit{
			{leaderGo, "case r.promises.Epoch == p.Epoch:\n\t\treturn refuse(\"EpochUsed\"", "case false:\n\t\treturn refuse(\"EpochUsed\""},
			{leaderGo, "case r.log.Durable() != p.Start || r.log.Last() != p.Start:", "case false:"},
		},
	},
	{
		"no barrier", "a leader commits nothing before its own barrier",
		[]edit{{leaderGo,
			"if c < l.barrier || c <= r.commit {",
			"if c <= r.commit {"}},
	},
	{
		"commit quorum one too small", "acknowledged means durable on k voters",
		[]edit{{quorumGo,
			"return vals[len(vals)-r.K]",
			"return vals[min(len(vals)-1, len(vals)-r.K+1)]"}},
	},
	{
		"newer rule not obeyed", "while two rules hold, both must be met",
		[]edit{{quorumGo,
			"for _, r := range rules {\n\t\tc = min(c, r.Commit(own, durable))",
			"for _, r := range rules[:1] {\n\t\tc = min(c, r.Commit(own, durable))"}},
	},
	{
		"fence quorum one too small", "a fence quorum meets every set of acknowledgements",
		[]edit{{quorumGo,
			"return max(0, len(r.Voters)-r.K+1) }",
			"return max(0, len(r.Voters)-r.K) }"}},
	},
	{
		"longest log elected", "the election compares the epoch first",
		[]edit{{quorumGo,
			"if o := a.Last.Compare(b.Last); o != 0 {\n\t\treturn o > 0",
			"if a.Last.Position != b.Last.Position {\n\t\treturn a.Last.Position > b.Last.Position"}},
	},
	{
		"incarnation ignored", "a directory that was made anew is not the voter of that name",
		[]edit{{leaderGo,
			"if p := l.followers[v.Member]; p != nil && p.voter == v {\n\t\treturn p.durable",
			"if p := l.followers[v.Member]; p != nil {\n\t\treturn p.durable"}},
	},
	{
		// A leader knows nothing of earlier epochs, since its streams end with each. So what they left behind must be kept to be
		// counted.
		"acknowledgement of another epoch", "acknowledgements count in their own epoch only",
		[]edit{
			{replicaGo, "\tfollow following\n}", "\tfollow following\n\tearlier map[string]*progress\n}"},
			{replicaGo, "\tr.role = role\n\tr.lead = nil", "\tr.role = role\n\tif r.lead != nil {\n\t\tr.earlier = r.lead.followers\n\t}\n\tr.lead = nil"},
			{leaderGo, "\t\tfollowers: map[string]*progress{}, ends:", "\t\tfollowers: r.counted(), ends:"},
			{leaderGo, "// Resign ends", "func (r *Replica) counted() map[string]*progress {\n\tout := map[string]*progress{}\n\tfor name, p := range r.earlier {\n\t\tout[name] = &progress{voter: p.voter, durable: p.durable, heardAt: p.heardAt}\n\t}\n\treturn out\n}\n\n// Resign ends"},
		},
	},
	{
		// Three guards: the promise ends the stream, what still arrives is refused, and a member beyond the end that it reported
		// is not promoted.
		"append of a deposed leader", "a fenced member takes nothing more from an older leader",
		[]edit{
			{replicaGo, "\t\tr.enter(RoleFenced)", "\t\tr.role, r.lead = RoleFenced, nil"},
			{followerGo, "if r.role != RoleFollower || a.Epoch != r.promises.Epoch || a.Epoch < r.promises.Promised || !r.follow.matched {", "if r.role == RoleLeader || r.role == RoleWaiting || a.Epoch != r.promises.Epoch || !r.follow.matched {"},
			{roleGo, "if m.core.Role() != replication.RoleFollower {\n\t\twant = target{}", "if r := m.core.Role(); r != replication.RoleFollower && r != replication.RoleFenced {\n\t\twant = target{}"},
			{leaderGo, "case r.log.Durable() != p.Start || r.log.Last() != p.Start:", "case false:"},
		},
	},
	{
		"cut to the commit position", "logs part by epoch, not by commit position (KIP-101)",
		[]edit{{followerGo,
			"common, sure := CutTo(r.log.Epochs(), last.Position, h.Epoch, h.End)",
			"common, sure := Mark{Position: r.commit, Epoch: last.Epoch}, true"}},
	},
	{
		"nothing cut", "what the leader does not hold is cut",
		[]edit{{leaderGo,
			"(h.Probe || epoch != h.Last.Epoch || h.Last.Position > end) {",
			"(h.Probe || h.Last.Position > end) {"}},
	},
	{
		// The member itself refuses to lead, too.
		"seeding counted as data", "a member in mid-seed is no evidence and is not promoted",
		[]edit{
			{evidenceGo, "return ok && h.voter == v && !h.seeding", "return ok && h.voter == v"},
			{evidenceGo, "if h.seeding || h.empty && !nothingHeld {", "if h.empty && !nothingHeld {"},
			{leaderGo, "case r.promises.NeedSeed:\n\t\treturn refuse(\"NeedsSeed\"", "case false:\n\t\treturn refuse(\"NeedsSeed\""},
		},
	},
	{
		"grant forgotten in the answer", "a promotion waits out the read grants",
		[]edit{{replicaGo,
			"GrantLeft: max(0, r.follow.grantedUntil.Sub(now))}, nil",
			"GrantLeft: 0 * now.Sub(now)}, nil"}},
	},
	{
		"grant not waited for", "a promotion waits out the read grants",
		[]edit{{leaderGo,
			"opensAt: now.Add(p.GrantWait)",
			"opensAt: now"}},
	},
	{
		"reads without grants", "a leader reads only while k voters' grants are fresh",
		[]edit{{leaderGo,
			"return p.grantedFrom.Add(p.grant - p.grant/10).Sub(now)",
			"return p.grant"}},
	},
	{
		"binding dropped early", "an older leadership binds until the next one's barrier is committed",
		[]edit{{recordGo,
			"r.Phase, r.Leader, r.Start = PhasePromoting, leader, start",
			"r.Phase, r.Leader, r.Start = PhasePromoting, leader, start\n\tr.Binding, r.EveryMember = nil, nil"}},
	},
	{
		"voter counted before the record", "the record names a weaker rule before the leader goes by it",
		[]edit{{votersGo,
			"return d.writeRules(rec, \"The commit rule changes\", next), true",
			"return plan(ChangingVoters, v1alpha1.ReasonChangingVoters, \"mutated\").do(ConfigureLeader{rec.Leader.Member, wire.ConfigureRequest{Epoch: rec.Epoch, Version: rec.ConfigVersion + 1, Rules: next}}), true"}},
	},
	{
		"rules replaced at once", "while rules change, both hold",
		[]edit{{votersGo,
			"both := []replication.Rule{now, want}",
			"both := []replication.Rule{want}"}},
	},
	{
		"newer rule taken early", "the older rule is dropped once everything acknowledged is held under the newer",
		[]edit{{votersGo,
			"return leader.Commit <= start.Position || held >= r.K",
			"return true || held >= r.K"}},
	},
	{
		"quorum from statuses", "quorums are counted from answers to this epoch's fence",
		[]edit{{failoverGo,
			"everybody := d.promised(rec.Epoch)",
			"everybody := d.foreseen()"}},
	},
	{
		"quorum from a stale cache", "what was heard once is no answer now",
		[]edit{{observedGo,
			"if m.Probe.Reach != Fresh {",
			"if m.Probe.Status == nil {"}},
	},
	{
		"consent from a stale cache", "what a person consents to is read from the API server",
		[]edit{{rereadGo,
			"Store:   d.Cached.Store && len(p.Actions) > 0,",
			"Store:   false,"}},
	},
	{
		"asynchronous leader without a Lease", "with k = 0 a leader stops on its own deadline",
		[]edit{{roleGo,
			"return m.opt.Lease.Valid(now)",
			"return true || m.opt.Lease.Valid(now)"}},
	},
	{
		// Both source and receiver check the position that the leader named, and the receiver also checks its own log's.
		"snapshot behind the log", "what a voter acknowledged is not given up for an older snapshot",
		[]edit{
			{seedGo, "!m.core.Promises().NeedSeed && manifest.Mark.Compare(last) < 0", "false && manifest.Mark.Compare(last) < 0"},
			{sourceGo, "fit[c] = c.manifest.Mark.Position >= least && s.o.Holds(c.manifest.Mark)", "fit[c] = s.o.Holds(c.manifest.Mark)"},
			{receiveGo, "case r.m.Mark.Position < r.o.Least:", "case false:"},
		},
	},
}
