package controllers

import (
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

func init() {
	metrics.Registry.MustRegister(failovers, failoverSeconds, storeState, storeCondition, storeMembers, storeLag)
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
	for _, v := range []*prometheus.GaugeVec{storeState, storeCondition, storeMembers, storeLag} {
		v.DeletePartialMatch(of)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
