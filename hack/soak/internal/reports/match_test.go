package reports

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication"
)

// scene is an account that is fed what a cluster would report.
type scene struct{ *account }

func (s scene) record(epoch replication.Epoch, p decide.Phase, leader string) bool {
	return s.recorded("orders", decide.Record{
		Epoch: epoch, Phase: p, Leader: replication.Voter{Member: leader},
		Change: decide.Change{Kind: v1alpha1.KindFailover, Reason: "LeaderSilent"},
	}, time.Unix(int64(epoch), 0))
}

func (s scene) report(epoch int64, result v1alpha1.FailoverResult, to string, change ...func(*v1alpha1.FailoverReport)) bool {
	now := metav1.NowMicro()
	r := &v1alpha1.FailoverReport{
		Kind: v1alpha1.KindFailover, Result: result, To: to, Epoch: epoch, WritesLost: v1alpha1.LostNone,
		DetectedTime: &now, WritableTime: &now,
	}
	for _, c := range change {
		c(r)
	}
	st := v1alpha1.ReplicatedStoreStatus{LastFailover: r}
	if s.status != nil {
		st.Counters = s.status.Counters
	}
	if before := s.reports[epoch]; result == v1alpha1.ResultSucceeded && s.first != nil && (before == nil || before.Result != result) {
		st.Counters.Failovers++
	}
	return s.published(st)
}

// began returns a store that already had a leader.
func began() scene {
	s := scene{newAccount()}
	s.record(3, decide.PhaseStable, "a")
	s.report(3, v1alpha1.ResultSucceeded, "a")
	return s
}

func TestChanges(t *testing.T) {
	for name, tc := range map[string]struct {
		run  func(s scene)
		want []string // what is missing for each change
	}{
		"nothing happened": {func(scene) {}, nil},
		"reported": {func(s scene) {
			s.record(4, decide.PhaseFencing, "")
			s.report(4, v1alpha1.ResultRunning, "")
			s.record(4, decide.PhasePromoting, "b")
			s.record(4, decide.PhaseStable, "b")
			s.report(4, v1alpha1.ResultSucceeded, "b")
		}, []string{""}},
		"not reported at all": {func(s scene) { s.record(4, decide.PhaseStable, "b") }, []string{"no report"}},
		"only the next one is reported": {func(s scene) {
			s.record(4, decide.PhaseStable, "b")
			s.record(5, decide.PhaseStable, "c")
			s.report(5, v1alpha1.ResultSucceeded, "c")
		}, []string{"no report", ""}},
		"never reported to the end": {func(s scene) {
			s.record(4, decide.PhaseStable, "b")
			s.report(4, v1alpha1.ResultRunning, "b")
		}, []string{"reported as Running"}},
		"reported of another member": {func(s scene) {
			s.record(4, decide.PhaseStable, "b")
			s.report(4, v1alpha1.ResultSucceeded, "c")
		}, []string{"led by c"}},
		"reported as another kind": {func(s scene) {
			s.record(4, decide.PhaseStable, "b")
			s.report(4, v1alpha1.ResultSucceeded, "b", func(r *v1alpha1.FailoverReport) { r.Kind = v1alpha1.KindHandover })
		}, []string{"reported as Handover"}},
		"reported with a loss": {func(s scene) {
			s.record(4, decide.PhaseStable, "b")
			s.report(4, v1alpha1.ResultSucceeded, "b", func(r *v1alpha1.FailoverReport) { r.WritesLost = "3" })
		}, []string{`lost "3"`}},
		"reported without times": {func(s scene) {
			s.record(4, decide.PhaseStable, "b")
			s.report(4, v1alpha1.ResultSucceeded, "b", func(r *v1alpha1.FailoverReport) { r.WritableTime = nil })
		}, []string{"without its times"}},
		"given up, and reported while it was tried": {func(s scene) {
			s.record(4, decide.PhasePromoting, "b")
			s.report(4, v1alpha1.ResultRunning, "b")
			s.record(5, decide.PhaseStable, "c")
			s.report(5, v1alpha1.ResultSucceeded, "c")
		}, []string{"", ""}},
		"given up in silence": {func(s scene) {
			s.record(4, decide.PhasePromoting, "b")
			s.record(5, decide.PhaseStable, "c")
			s.report(5, v1alpha1.ResultSucceeded, "c")
		}, []string{"no report", ""}},
		"two leaders in an epoch": {func(s scene) {
			s.record(4, decide.PhasePromoting, "b")
			s.record(4, decide.PhasePromoting, "c")
			s.report(4, v1alpha1.ResultRunning, "c")
		}, []string{"named b before"}},
		"an epoch that was not seen": {func(s scene) {
			s.record(5, decide.PhaseStable, "c")
			s.report(5, v1alpha1.ResultSucceeded, "c")
		}, []string{"between 3 and 5"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := began()
			tc.run(s)
			got := s.changes()
			if len(got) != len(tc.want) {
				t.Fatalf("%+v", got)
			}
			for i, c := range got {
				if (c.Missing == "") != (tc.want[i] == "") || !strings.Contains(c.Missing, tc.want[i]) {
					t.Errorf("epoch %d: %q, want %q", c.Epoch, c.Missing, tc.want[i])
				}
			}
		})
	}
}

func TestMiscounted(t *testing.T) {
	s := began()
	s.record(4, decide.PhaseStable, "b")
	s.report(4, v1alpha1.ResultSucceeded, "b")
	if m := s.miscounted(); m != "" {
		t.Fatal(m)
	}
	s.record(5, decide.PhaseStable, "c")
	if m := s.miscounted(); !strings.Contains(m, "counts 1 of kind Failover, the records tell of 2") {
		t.Fatalf("%q", m)
	}
	if scene := (scene{newAccount()}); scene.miscounted() == "" {
		t.Fatal("a store that nothing was seen of counts rightly")
	}
}

// Only news is worth a line in the log; renewals of the Lease are not.
func TestNews(t *testing.T) {
	s := began()
	for what, got := range map[string]bool{
		"the same record":          !s.record(3, decide.PhaseStable, "a"),
		"the next epoch":           s.record(4, decide.PhaseFencing, ""),
		"its next phase":           s.record(4, decide.PhasePromoting, "b"),
		"the same report":          !s.report(3, v1alpha1.ResultSucceeded, "a"),
		"the next report":          s.report(4, v1alpha1.ResultRunning, "b"),
		"its end":                  s.report(4, v1alpha1.ResultSucceeded, "b"),
		"a count without a report": s.published(v1alpha1.ReplicatedStoreStatus{Counters: v1alpha1.FailoverCounters{Failovers: 9}}),
		"the same count":           !s.published(v1alpha1.ReplicatedStoreStatus{Counters: v1alpha1.FailoverCounters{Failovers: 9}}),
	} {
		if !got {
			t.Error(what)
		}
	}
}
