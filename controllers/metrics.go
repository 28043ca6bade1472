package controllers

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

var (
	failovers = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replicatedstore_failovers_total", Help: "Changes of leader that ended, by kind, result and what they lost.",
	}, []string{"kind", "result", "lost"})
	failoverSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "replicatedstore_failover_phase_seconds", Help: "How long the phases of changes of leader took.",
		Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"kind", "phase"})
	storeState = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "replicatedstore_store_state", Help: "1 for the state that a store is in.",
	}, []string{"namespace", "store", "state"})
	storeCondition = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "replicatedstore_store_condition", Help: "1 while a condition of a store is True.",
	}, []string{"namespace", "store", "condition"})
	storeMembers = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "replicatedstore_store_members", Help: "Members of a store by what they do.",
	}, []string{"namespace", "store", "role"})
	storeLag = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "replicatedstore_member_lag_writes", Help: "By how many writes a follower's disk is behind the leader.",
	}, []string{"namespace", "store", "member"})
)

// The newest report of each store, figure by figure.
var (
	lastSeconds = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "replicatedstore_last_failover_phase_seconds", Help: "How long the phases of the newest change of leader took.",
	}, []string{"namespace", "store", "phase"})
	lastLost = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "replicatedstore_last_failover_lost_writes", Help: "Acknowledged writes that the newest change of leader lost; -1: unknown.",
	}, []string{"namespace", "store"})
	lastAt = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "replicatedstore_last_failover_timestamp_seconds", Help: "When the newest change of leader began.",
	}, []string{"namespace", "store", "kind", "reason", "result"})
	lastPosition = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "replicatedstore_last_failover_position", Help: "The newest entry that each member brought to the newest election.",
	}, []string{"namespace", "store", "member"})
	storeEpoch = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "replicatedstore_store_epoch", Help: "The epoch of a store.",
	}, []string{"namespace", "store"})
	perStore = []*prometheus.GaugeVec{storeState, storeCondition, storeMembers, storeLag, lastSeconds, lastLost, lastAt, lastPosition, storeEpoch}
)

func init() {
	metrics.Registry.MustRegister(failovers, failoverSeconds)
	for _, v := range perStore {
		metrics.Registry.MustRegister(v)
	}
}

// observeReport shows the newest report. A figure that it does not have is not shown.
func observeReport(key types.NamespacedName, r *v1alpha1.FailoverReport) {
	of := prometheus.Labels{"namespace": key.Namespace, "store": key.Name}
	for _, v := range []*prometheus.GaugeVec{lastSeconds, lastLost, lastAt, lastPosition} {
		v.DeletePartialMatch(of)
	}
	if r == nil {
		return
	}
	for phase, d := range map[string]*metav1.Duration{
		"fencing": r.Durations.Fencing, "promoting": r.Durations.Promoting, "opening": r.Durations.Opening, "total": r.Durations.Total,
	} {
		if d != nil {
			lastSeconds.WithLabelValues(key.Namespace, key.Name, phase).Set(d.Seconds())
		}
	}
	if lost, known := lostWrites(r.WritesLost); known {
		lastLost.WithLabelValues(key.Namespace, key.Name).Set(lost)
	}
	if r.DetectedTime != nil {
		lastAt.WithLabelValues(key.Namespace, key.Name, string(r.Kind), r.Reason, string(r.Result)).Set(float64(r.DetectedTime.UnixMilli()) / 1000)
	}
	for _, p := range r.Positions {
		lastPosition.WithLabelValues(key.Namespace, key.Name, p.Member).Set(float64(p.Position))
	}
}

// lostWrites is FailoverReport.WritesLost as a number; false before it is known at all.
func lostWrites(text string) (float64, bool) {
	switch text {
	case "":
		return 0, false
	case v1alpha1.LostNone:
		return 0, true
	case v1alpha1.LostUnknown:
		return -1, true
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil
}

// countFailover counts a change of leader that ended.
func countFailover(rec decide.Record, result v1alpha1.FailoverResult) {
	lost := rec.WritesLost
	if lost != v1alpha1.LostNone && lost != v1alpha1.LostUnknown {
		lost = "some"
	}
	failovers.WithLabelValues(string(rec.Kind), string(result), lost).Inc()
	if result != v1alpha1.ResultSucceeded {
		return
	}
	phase := func(name string, from, to *metav1.MicroTime) {
		if from != nil && to != nil && !to.Before(from) {
			failoverSeconds.WithLabelValues(string(rec.Kind), name).Observe(to.Sub(from.Time).Seconds())
		}
	}
	t := rec.Since
	phase("fencing", t.Detected, t.Fenced)
	phase("promoting", t.Fenced, t.Promoted)
	phase("opening", t.Promoted, t.Writable)
	phase("total", t.Detected, t.Writable)
}

// observeMetrics shows one store as it was published.
func observeMetrics(key types.NamespacedName, plan decide.Plan) {
	for _, s := range decide.States() {
		storeState.WithLabelValues(key.Namespace, key.Name, s.String()).Set(truth(s == plan.State))
	}
	for _, c := range plan.Status.Conditions {
		storeCondition.WithLabelValues(key.Namespace, key.Name, c.Type).Set(truth(c.Status == metav1.ConditionTrue))
	}
	observeReport(key, plan.Status.LastFailover)
	storeEpoch.WithLabelValues(key.Namespace, key.Name).Set(float64(plan.Status.Epoch))
	of := prometheus.Labels{"namespace": key.Namespace, "store": key.Name}
	storeMembers.DeletePartialMatch(of)
	storeLag.DeletePartialMatch(of)
	for _, m := range plan.Status.Members {
		storeMembers.WithLabelValues(key.Namespace, key.Name, string(m.Role)).Inc()
		if m.Lag != nil {
			storeLag.WithLabelValues(key.Namespace, key.Name, m.Name).Set(float64(*m.Lag))
		}
	}
}

func forgetMetrics(key types.NamespacedName) {
	of := prometheus.Labels{"namespace": key.Namespace, "store": key.Name}
	for _, v := range perStore {
		v.DeletePartialMatch(of)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
