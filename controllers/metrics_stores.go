package controllers

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// stores exports the metrics of every store as it was last published. They are computed when somebody scrapes them, so that
// a pass costs the same however many stores there are.
var stores = &storeMetrics{shown: map[types.NamespacedName]shown{}, seen: map[types.NamespacedName]time.Time{}}

type storeMetrics struct {
	mu    sync.Mutex
	shown map[types.NamespacedName]shown
	// seen is when a store was last looked at successfully: what is shown of the store is no newer.
	seen map[types.NamespacedName]time.Time
}

// shown is one store; its status is never changed.
type shown struct {
	state  decide.State
	lost   *decide.Loss
	status *v1alpha1.ReplicatedStoreStatus
}

func descOf(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("replicatedstore_"+name, help, append([]string{"namespace", "store"}, labels...), nil)
}

var (
	descState     = descOf("store_state", "1 for the state that a store is in.", "state")
	descCondition = descOf("store_condition", "1 while a condition of a store is True.", "condition")
	descMembers   = descOf("store_members", "Members of a store by state.", "role")
	descLag       = descOf("member_lag_writes", "Number of writes by which a follower's disk is behind the leader.", "member")
	descSeen      = descOf("store_seen_timestamp_seconds", "When the operator last observed a store; its other metrics of the store are as old.")
	descEpoch     = descOf("store_epoch", "The epoch of a store.")
	descKept      = descOf("store_writes_lost", "1 while some member's volume may hold acknowledged writes that an election may have given up.")
	descChanges   = descOf("store_leader_changes_total", "Changes of leader since a store was created, as its status counts them.", "count")

	// The newest report of each store, metric by metric. A figure that the report does not have is not exported.
	descSeconds  = descOf("last_failover_phase_seconds", "Duration of each phase of the newest change of leader.", "phase")
	descLost     = descOf("last_failover_lost_writes", "Acknowledged writes that the newest change of leader lost; -1: unknown.")
	descAt       = descOf("last_failover_timestamp_seconds", "When the newest change of leader began.", "kind", "reason", "result")
	descPosition = descOf("last_failover_position", "The newest entry that each member brought to the newest election.", "member")
)

func (s *storeMetrics) show(key types.NamespacedName, plan decide.Plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown[key] = shown{plan.State, plan.Lost, plan.Status.DeepCopy()}
}

// expect is called before every look at a store, and saw after a look that succeeded. A store that was never seen counts as
// seen when it was first looked at, so that its age shows.
func (s *storeMetrics) expect(key types.NamespacedName, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[key].IsZero() {
		s.seen[key] = now
	}
}

func (s *storeMetrics) saw(key types.NamespacedName, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[key] = at
}

func (s *storeMetrics) forget(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.shown, key)
	delete(s.seen, key)
}

// Describe implements prometheus.Collector.
func (s *storeMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descState, descCondition, descMembers, descLag, descSeen, descEpoch, descKept, descChanges, descSeconds, descLost, descAt, descPosition,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *storeMetrics) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, at := range s.seen {
		ch <- prometheus.MustNewConstMetric(descSeen, prometheus.GaugeValue, float64(at.UnixMilli())/1000, key.Namespace, key.Name)
	}
	for key, is := range s.shown {
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{key.Namespace, key.Name}, labels...)...)
		}
		is.collect(gauge)
		c := is.status.Counters
		for count, n := range map[string]int64{"failovers": c.Failovers, "handovers": c.Handovers, "failed": c.Failed, "lossy": c.Lossy} {
			ch <- prometheus.MustNewConstMetric(descChanges, prometheus.CounterValue, float64(n), key.Namespace, key.Name, count)
		}
		if r := is.status.LastFailover; r != nil {
			collectReport(r, gauge)
		}
	}
}

func (s shown) collect(gauge func(*prometheus.Desc, float64, ...string)) {
	for _, state := range decide.States() {
		gauge(descState, truth(state == s.state), state.String())
	}
	for _, c := range s.status.Conditions {
		gauge(descCondition, truth(c.Status == metav1.ConditionTrue), c.Type)
	}
	gauge(descEpoch, float64(s.status.Epoch))
	gauge(descKept, truth(s.lost != nil))
	roles := map[string]float64{}
	for _, role := range []v1alpha1.MemberRole{v1alpha1.MemberLeader, v1alpha1.MemberFollower, v1alpha1.MemberWaiting, v1alpha1.MemberFenced, v1alpha1.MemberUnknown} {
		roles[string(role)] = 0 // export 0 for a role that nobody has
	}
	for _, m := range s.status.Members {
		roles[string(m.Role)]++
		if m.Lag != nil {
			gauge(descLag, float64(*m.Lag), m.Name)
		}
	}
	for role, n := range roles {
		gauge(descMembers, n, role)
	}
}

func collectReport(r *v1alpha1.FailoverReport, gauge func(*prometheus.Desc, float64, ...string)) {
	for phase, d := range map[string]*metav1.Duration{
		"fencing": r.Durations.Fencing, "promoting": r.Durations.Promoting, "opening": r.Durations.Opening, "total": r.Durations.Total,
	} {
		if d != nil {
			gauge(descSeconds, d.Seconds(), phase)
		}
	}
	if lost, known := lostWrites(r.WritesLost); known {
		gauge(descLost, lost)
	}
	if r.DetectedTime != nil {
		gauge(descAt, float64(r.DetectedTime.UnixMilli())/1000, string(r.Kind), r.Reason, string(r.Result))
	}
	for _, p := range r.Positions {
		gauge(descPosition, float64(p.Position), p.Member)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
