package decide

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// status returns everything to publish. What was published before is carried over only where it is history (counters, the
// outcome of the last request, transition times). Decisions use only how many members it lists (see whole) and whether the
// store ever had a leader.
func (d *decision) status(p Plan) v1alpha1.ReplicatedStoreStatus {
	old := d.Store.Status
	st := v1alpha1.ReplicatedStoreStatus{
		ObservedGeneration: d.Store.Generation,
		FailoverRequest:    old.FailoverRequest, Counters: old.Counters, LastFailover: old.LastFailover, Failovers: old.Failovers,
		Selector: labels.SelectorFromSet(v1alpha1.SelectorLabels(d.Store.Name)).String(),
	}
	for _, a := range p.Actions {
		if f, ok := a.(FinishRequest); ok {
			st.FailoverRequest = f.Outcome.DeepCopy()
		}
	}
	var rec Record
	if d.Lease.Record != nil {
		rec = *d.Lease.Record
		st.Epoch = int64(rec.Epoch)
		if st.Leader = d.leading(rec, p); st.Leader != "" {
			st.LeaderSince = rec.Since.Writable
		}
		if rec.Reason != reasonHibernated {
			d.reportInto(&st, rec, p)
		}
	}
	st.Members = d.memberStatuses(rec)
	for _, m := range d.Members {
		if m.Pod != nil {
			st.Replicas++
		}
		if m.Pod != nil && m.Pod.Ready {
			st.ReadyReplicas++
		}
	}
	st.Replication = d.replicationStatus(rec)
	st.Conditions = d.conditions(rec, p)
	st.Phase = d.phase(rec, p, st.Conditions)
	st.Summary = d.summary(rec, st)
	return st
}

// leading returns the member that leads, as far as is known; "" if the recorded leader says that it does not lead, or if
// another leader is needed in its place. A leader that has not answered for a moment, or that only its voters hear, still
// counts.
func (d *decision) leading(rec Record, p Plan) string {
	m := d.Members[rec.Leader.Member]
	if m.leads(rec) || m.fresh() == nil && rec.Phase == PhaseStable && !d.blocked(rec, p).status {
		return rec.Leader.Member
	}
	return ""
}

func (d *decision) replicationStatus(rec Record) v1alpha1.ReplicationStatus {
	rule, ok := rec.BindingRule()
	if !ok {
		return v1alpha1.ReplicationStatus{}
	}
	r := v1alpha1.ReplicationStatus{Number: int32(rule.K), Changing: len(rec.Rules) > 1}
	for _, v := range rule.Voters {
		if len(r.Voters) == 0 || r.Voters[len(r.Voters)-1] != v.Member {
			r.Voters = append(r.Voters, v.Member)
		}
	}
	sync := d.Store.Spec.Replication.Synchronous
	r.Degraded = sync.Durability == v1alpha1.DurabilityPreferred && rule.K < d.Store.Spec.SynchronousNumber()
	return r
}

func (d *decision) memberStatuses(rec Record) []v1alpha1.MemberStatus {
	var end int64 = -1
	if s := d.Members[rec.Leader.Member].fresh(); s != nil {
		end = int64(s.Last.Position)
	}
	var out []v1alpha1.MemberStatus
	for _, m := range d.byOrdinal() {
		if m.Pod != nil || d.counted(rec, m.Name) {
			out = append(out, d.memberStatus(rec, m, end))
		}
	}
	if d.Lease.Record == nil && d.known() > 0 { // until there is a record again, list the other members that there were
		for _, was := range d.Store.Status.Members {
			if !slices.ContainsFunc(out, func(m v1alpha1.MemberStatus) bool { return m.Name == was.Name }) {
				out = append(out, v1alpha1.MemberStatus{Name: was.Name, Role: v1alpha1.MemberUnknown})
			}
		}
	}
	return out
}

func (d *decision) memberStatus(rec Record, m Member, end int64) v1alpha1.MemberStatus {
	out := v1alpha1.MemberStatus{Name: m.Name, Role: v1alpha1.MemberUnknown}
	if m.Pod != nil {
		out.Node, out.Zone, out.Ready, out.Problem = m.Pod.Node, m.Pod.Zone, m.Pod.Ready, m.Pod.Trouble
	}
	s := m.Probe.Status
	if s == nil {
		return out
	}
	out.Incarnation, out.Version, out.Quarantined = s.Incarnation, s.Version, int64(s.Quarantined)
	out.Epoch, out.Position, out.Applied = int64(s.Durable.Epoch), int64(s.Durable.Position), int64(s.Applied)
	if v, ok := rec.Voter(m.Name); ok {
		out.Voter = v.Incarnation == s.Incarnation
	}
	if m.fresh() == nil {
		return out
	}
	out.Role = v1alpha1.MemberRole(s.Role)
	if s.Problem != "" {
		out.Problem = s.Problem
	}
	if end >= 0 && m.follows(rec) {
		out.Lag = new(max(0, end-int64(s.Durable.Position)))
	}
	out.Seeding = seeding(s.Seeding)
	out.Storage = storageStatus(s.Disk)
	return out
}

func seeding(s *wire.Seeding) *v1alpha1.SeedingStatus {
	if s == nil {
		return nil
	}
	out := &v1alpha1.SeedingStatus{
		From: s.From, DoneBytes: s.DoneBytes, TotalBytes: s.TotalBytes,
		Done: wire.Bytes(s.DoneBytes), Total: wire.Bytes(s.TotalBytes), Rate: wire.Bytes(s.BytesPerSecond) + "/s",
	}
	if s.TotalBytes > 0 {
		out.Percent = int32(min(100, 100*s.DoneBytes/s.TotalBytes))
	}
	if s.SecondsLeft >= 0 {
		out.TimeLeft = (metav1.Duration{Duration: seconds(s.SecondsLeft)}).Duration.String()
	}
	return out
}

func (d *decision) summary(rec Record, st v1alpha1.ReplicatedStoreStatus) v1alpha1.StatusSummary {
	out := v1alpha1.StatusSummary{
		Members: fmt.Sprintf("%d/%d", st.ReadyReplicas, d.Store.Spec.Size()),
		Sync:    fmt.Sprintf("%d of %d", st.Replication.Number, len(st.Replication.Voters)),
		Lag:     "-",
	}
	if rule, known := rec.BindingRule(); !known {
		out.Sync = "-"
	} else if rule.K == 0 {
		out.Sync = "async"
	}
	lags := map[int64]bool{}
	for _, m := range st.Members {
		if m.Lag != nil {
			lags[*m.Lag] = true
		}
	}
	if len(lags) > 0 {
		var worst int64
		for l := range maps.Keys(lags) {
			worst = max(worst, l)
		}
		out.Lag = strconv.FormatInt(worst, 10)
	}
	return out
}

// reportInto fills in the report of the newest change of leader, from the record alone, and counts the change when it ends.
func (d *decision) reportInto(st *v1alpha1.ReplicatedStoreStatus, rec Record, p Plan) {
	r := &v1alpha1.FailoverReport{
		Kind: rec.Kind, Reason: rec.Reason, Result: v1alpha1.ResultRunning, Message: p.Message,
		From: rec.From, To: rec.Leader.Member, FromEpoch: int64(rec.FromEpoch), Epoch: int64(rec.Epoch),
		DetectedTime: rec.Since.Detected, FencedTime: rec.Since.Fenced, PromotedTime: rec.Since.Promoted, WritableTime: rec.Since.Writable,
		Positions: rec.Positions, WritesLost: rec.WritesLost,
		Durations: v1alpha1.FailoverDurations{
			Fencing:   between(rec.Since.Detected, rec.Since.Fenced),
			Promoting: between(rec.Since.Fenced, rec.Since.Promoted),
			Opening:   between(rec.Since.Promoted, rec.Since.Writable),
			Total:     between(rec.Since.Detected, rec.Since.Writable),
		},
	}
	switch {
	case rec.Phase == PhaseStable:
		r.Result = v1alpha1.ResultSucceeded
		r.Message = fmt.Sprintf("%s leads epoch %d; writes lost: %s.", rec.Leader.Member, rec.Epoch, rec.WritesLost)
	case p.State == Blocked:
		r.Result = v1alpha1.ResultBlocked
	}
	before := st.LastFailover
	st.LastFailover = r
	if before != nil && before.Epoch < r.Epoch {
		st.Failovers = remember(st.Failovers, *before)
	}
	ended := r.Result == v1alpha1.ResultSucceeded && (before == nil || before.Epoch != r.Epoch || !before.Result.Finished())
	if ended {
		count(&st.Counters, r)
	}
	if before != nil && before.Epoch < r.Epoch && !before.Result.Finished() {
		st.Counters.Failed++
	}
}

// remember puts a report that is no longer the newest in front of the others. A change that never finished was followed by
// another attempt, so it has failed.
func remember(history []v1alpha1.FailoverReport, r v1alpha1.FailoverReport) []v1alpha1.FailoverReport {
	r.Positions = nil
	if !r.Result.Finished() {
		r.Result = v1alpha1.ResultFailed
	}
	out := append([]v1alpha1.FailoverReport{r}, history...)
	return out[:min(len(out), v1alpha1.MaxHistory)]
}

func count(c *v1alpha1.FailoverCounters, r *v1alpha1.FailoverReport) {
	switch r.Kind {
	case v1alpha1.KindFailover:
		c.Failovers++
	case v1alpha1.KindHandover:
		c.Handovers++
	case v1alpha1.KindBootstrap, v1alpha1.KindWake:
	}
	if r.WritesLost != v1alpha1.LostNone {
		c.Lossy++
	}
}

func between(from, to *metav1.MicroTime) *metav1.Duration {
	if from == nil || to == nil || to.Before(from) {
		return nil
	}
	return &metav1.Duration{Duration: to.Sub(from.Time)}
}
