package controllers

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

var (
	failovers = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replicatedstore_failovers_total", Help: "Changes of leader that ended, by kind, result and what they lost.",
	}, []string{"kind", "result", "lost"})
	failoverSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "replicatedstore_failover_phase_seconds", Help: "Duration of each phase of a change of leader.",
		Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"kind", "phase"})
	operatorActs = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "replicatedstore_operator_acts",
		Help: "1 while this operator is the elected one and reconciles stores.",
	})
	steppedDown = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "replicatedstore_operator_stepped_down_total",
		Help: "Times this operator let another one act because it reached too few of the live leaders.",
	})
)

func init() {
	metrics.Registry.MustRegister(failovers, failoverSeconds, steppedDown, operatorActs, stores)
}

// lostWrites returns FailoverReport.WritesLost as a number; false if nothing is known yet.
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

// countFailover counts a change of leader that has ended.
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
