package decide

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
)

// Phase is how far the leadership of Record.Epoch has progressed.
type Phase string

const (
	// PhaseFencing: nobody leads Epoch yet; members are being asked for their promises.
	PhaseFencing Phase = "Fencing"
	// PhasePromoting: Leader is elected and may have been told; its barrier is not known to be committed.
	PhasePromoting Phase = "Promoting"
	// PhaseStable: the leader has committed its barrier, so it holds everything that was ever acknowledged.
	PhaseStable Phase = "Stable"
)

// Record is the authority record: one JSON annotation on the store's Lease. It is changed only by compare-and-swap on the
// Lease's resourceVersion, and is read uncached before anyone acts on it.
//
// Guarantees:
//  1. Epoch only grows, and one Epoch names at most one Leader.
//  2. One (Epoch, ConfigVersion) names one set of Rules, because each pair is written by a single swap. A leader is only ever
//     configured with what a swap wrote, so a late order from a deposed operator carries an older version and is refused.
//  3. The leader of Epoch acknowledges only what satisfies every one of Rules: rules are weakened here before they are weakened at
//     the leader, and strengthened at the leader before the weaker one is dropped here (see nextRules).
//  4. Every leadership whose acknowledged writes may not all have been taken over by a later one is in Binding, or is
//     (Epoch, Leader, Rules) itself. In place of such a leadership there may be a newer one with the same leader and rules,
//     which binds in the same way (see distinct).
type Record struct {
	Epoch replication.Epoch `json:"epoch"`
	Phase Phase             `json:"phase"`
	// Leader leads Epoch; zero while Fencing.
	Leader replication.Voter `json:"leader,omitzero"`
	// ConfigVersion numbers the Rules. It grows over the whole life of the store.
	ConfigVersion uint64 `json:"configVersion"`
	// Rules of the leadership: one, or the older and the newer while they change. Empty while Fencing.
	Rules []replication.Rule `json:"rules,omitempty"`
	// Binding lists the older leaderships that still bind, oldest first. Empty when Stable.
	Binding []replication.Leadership `json:"binding,omitempty"`
	// EveryMember names members that must all be fenced, because the record was lost and the rules of an older leadership
	// with it. It is kept as long as Binding is.
	EveryMember []string `json:"everyMember,omitempty"`
	// Start is the log end with which Leader was elected.
	Start replication.Mark `json:"start,omitzero"`
	// GrantWaitMillis is the longest read window that fenced members had still granted to an old leader that was not itself
	// fenced.
	GrantWaitMillis int64 `json:"grantWaitMillis,omitempty"`
	// Stores holds the UIDs of the store objects that this record belongs to: more than one once a store has taken over what
	// an earlier store of its name left behind. A volume of any of them belongs to the store.
	Stores []types.UID `json:"stores,omitempty"`
	// LeaderDead: the process of the binding leadership was seen to be gone, on two of its ports and from two hosts, so it
	// no longer serves reads.
	LeaderDead bool `json:"leaderDead,omitempty"`
	// Aside names the members that were elected since the newest Stable epoch and proved useless: see finding.setAside. While
	// Fencing, it also names the leader that a person asked to replace: see Change.deposes.
	Aside []string `json:"aside,omitempty"`
	// Lost is what elections may have given up, until nobody holds any of it (see forgetLoss). It decides nothing; it
	// informs people.
	Lost *Loss `json:"lost,omitempty"`

	Change
}

// Change reports how Epoch came about. Its times only pace retries (see againTooSoon and cutOffPatience); nothing that
// concerns safety depends on them.
type Change struct {
	Kind   v1alpha1.FailoverKind `json:"kind"`
	Reason string                `json:"reason"`
	// Target is the member that should lead if it holds as much as any other; "" or FailoverToAny means no preference.
	Target string `json:"target,omitempty"`
	// Request is the value of AnnotationFailover that this change answers; "" if nobody asked.
	Request   string            `json:"request,omitempty"`
	From      string            `json:"from,omitempty"`
	FromEpoch replication.Epoch `json:"fromEpoch,omitempty"`
	Since     Times             `json:"since,omitzero"`
	// Positions are those compared in the election.
	Positions []v1alpha1.ComparedPosition `json:"positions,omitempty"`
	// WritesLost is as in v1alpha1.FailoverReport.
	WritesLost string `json:"writesLost,omitempty"`
	// UpdateFailures are the handovers of an update that failed before Epoch; nil if there are none. They only pace retries,
	// and break ties in elections.
	UpdateFailures *LeadFailures `json:"updateFailures,omitempty"`
	// HomeFailures are the handovers to a better place that failed before Epoch (see Record.moves); otherwise as UpdateFailures.
	HomeFailures *LeadFailures `json:"homeFailures,omitempty"`
}

// Times are the times of a change, each on the clock of the operator that did that step.
type Times struct {
	Detected *metav1.MicroTime `json:"detected,omitempty"`
	Fenced   *metav1.MicroTime `json:"fenced,omitempty"`
	Promoted *metav1.MicroTime `json:"promoted,omitempty"`
	Writable *metav1.MicroTime `json:"writable,omitempty"`
}

// deposes reports whether a person asked to replace a leader that only the operator does not reach, and that may serve until
// it is fenced (see led).
func (c Change) deposes() bool { return c.Kind == v1alpha1.KindFailover && c.Reason == reasonRequested }

// DecodeRecord reads the annotation. On error, nothing in the annotation may be trusted.
func DecodeRecord(annotation string) (*Record, error) {
	var r Record
	if err := json.Unmarshal([]byte(annotation), &r); err != nil {
		return nil, fmt.Errorf("decode the authority record: %w", err)
	}
	if err := r.valid(); err != nil {
		return nil, fmt.Errorf("check the authority record: %w", err)
	}
	return &r, nil
}

// Encode returns the annotation's value. It panics on a record that breaks an invariant: writing such a record would be
// worse.
func (r Record) Encode() string {
	if err := r.valid(); err != nil {
		panic(fmt.Sprintf("decide: authority record %+v: %v", r, err))
	}
	b, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("decide: encode authority record %+v: %v", r, err))
	}
	return string(b)
}

func (r Record) valid() error {
	var errs []error
	check := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	check(r.Epoch > 0, "epoch is 0")
	check(len(r.Rules) <= 2, "more than two rules")
	check(r.Lost == nil || r.Lost.Epoch <= r.Epoch, "writes lost in an epoch to come")
	switch r.Phase {
	case PhaseFencing:
		check(r.Leader == replication.Voter{} && len(r.Rules) == 0, "a leader or rules while fencing")
		check(len(r.Binding)+len(r.EveryMember) > 0, "fencing without anything that binds")
	case PhasePromoting:
		check(r.Leader.Member != "" && len(r.Rules) > 0, "no leader or no rules while promoting")
	case PhaseStable:
		check(r.Leader.Member != "" && len(r.Rules) > 0, "no leader or no rules while stable")
		check(len(r.Binding)+len(r.EveryMember) == 0, "binding leaderships while stable")
	default:
		check(false, fmt.Sprintf("unknown phase %q", r.Phase))
	}
	for _, rule := range r.Rules {
		check(rule.K >= 0, "negative k")
		check(!slices.ContainsFunc(rule.Voters, func(v replication.Voter) bool { return v.Member == r.Leader.Member }),
			"the leader is its own voter")
	}
	for _, l := range r.Binding {
		check(l.Epoch > 0 && l.Epoch < r.Epoch, "a binding leadership is not older")
		check(l.Leader.Member != "" && len(l.Rules) > 0, "a binding leadership without leader or rules")
	}
	return errors.Join(errs...)
}

// Leaderships returns the leaderships that bind the next election: the older ones not yet taken over, then the current one.
func (r Record) Leaderships() []replication.Leadership {
	ls := slices.Clone(r.Binding)
	if r.Phase == PhasePromoting || r.Phase == PhaseStable {
		ls = append(ls, replication.Leadership{Epoch: r.Epoch, Leader: r.Leader, Rules: r.Rules, Start: r.Start})
	}
	return ls
}

// fencedBy reports whether the voters for which has returns true suffice to fence every leadership that may have
// acknowledged a write.
func (r Record) fencedBy(has func(replication.Voter) bool) bool {
	return !slices.ContainsFunc(r.Leaderships(), func(l replication.Leadership) bool { return !l.Inert() && !l.Fenced(has) })
}

// Named lists the members that the record depends on, possibly with duplicates. A nil record names nobody.
func (r *Record) Named() []string {
	if r == nil {
		return nil
	}
	out := slices.Clone(r.EveryMember)
	for _, l := range r.Leaderships() {
		out = append(out, l.Leader.Member)
		for _, rule := range l.Rules {
			for _, v := range rule.Voters {
				out = append(out, v.Member)
			}
		}
	}
	return out
}

// LedEpoch returns the newest epoch that somebody may lead or have led.
func (r Record) LedEpoch() replication.Epoch {
	if r.Phase != PhaseFencing {
		return r.Epoch
	}
	if n := len(r.Binding); n > 0 {
		return r.Binding[n-1].Epoch
	}
	return 0
}

// Rule returns the newest commit rule; false while Fencing.
func (r Record) Rule() (replication.Rule, bool) {
	if len(r.Rules) == 0 {
		return replication.Rule{}, false
	}
	return r.Rules[len(r.Rules)-1], true
}

// BindingRule returns the newest rule that binds: Rule or, while Fencing, that of the newest leadership not yet taken over.
// It returns false if none is known.
func (r Record) BindingRule() (replication.Rule, bool) {
	ls := r.Leaderships()
	if len(ls) == 0 {
		return replication.Rule{}, false
	}
	rules := ls[len(ls)-1].Rules
	return rules[len(rules)-1], true
}

// Voter finds a member among the voters of the rules in force.
func (r Record) Voter(member string) (replication.Voter, bool) {
	for _, rule := range r.Rules {
		for _, v := range rule.Voters {
			if v.Member == member {
				return v, true
			}
		}
	}
	return replication.Voter{}, false
}

// fencing returns the record that begins the change to epoch e.
func (r Record) fencing(e replication.Epoch, c Change) Record {
	return Record{
		Epoch: e, Phase: PhaseFencing, ConfigVersion: r.ConfigVersion,
		Binding: distinct(r.Leaderships()), EveryMember: r.EveryMember, Stores: r.Stores, Aside: r.Aside, Lost: r.Lost, Change: c,
	}
}

// distinct drops each leadership that is repeated, with the same leader and the same rules, by a newer one in ls. Fencing
// the newer one fences the older one too and examines the same members' logs; if that may lose writes, the same members are
// missing for both. So a member that dies each time it is elected does not grow the record until the Lease has no room for
// it. How far a leader's log reached matters only for the newest leadership (see lossOf), which stays.
func distinct(ls []replication.Leadership) []replication.Leadership {
	var out []replication.Leadership
	for i, l := range ls {
		if !slices.ContainsFunc(ls[i+1:], func(n replication.Leadership) bool {
			return n.Leader == l.Leader && slices.EqualFunc(n.Rules, l.Rules, equalRule)
		}) {
			out = append(out, l)
		}
	}
	return out
}

// promoting returns the record that names the leader of the epoch being fenced.
func (r Record) promoting(leader replication.Voter, start replication.Mark, rule replication.Rule) Record {
	r.Phase, r.Leader, r.Start = PhasePromoting, leader, start
	r.ConfigVersion++
	r.Rules = []replication.Rule{rule}
	return r
}

// stable returns the record of a leadership that has taken over everything.
func (r Record) stable() Record {
	r.Phase, r.Binding, r.EveryMember, r.GrantWaitMillis, r.LeaderDead, r.Aside = PhaseStable, nil, nil, 0, false, nil
	return r
}

// configured returns the record with other rules for the same leadership.
func (r Record) configured(rules ...replication.Rule) Record {
	r.ConfigVersion++
	r.Rules = rules
	return r
}
