package decide_test

import (
	"testing"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// The next step of a pass may begin another change of leader, so the report of one that has ended is published first.
func TestAnEndedChangeOfLeaderIsToldAtOnce(t *testing.T) {
	report := func(epoch int64, r v1alpha1.FailoverResult) *v1alpha1.FailoverReport {
		return &v1alpha1.FailoverReport{Epoch: epoch, Result: r}
	}
	for name, tc := range map[string]struct {
		told, now *v1alpha1.FailoverReport
		want      bool
	}{
		"none":                   {nil, nil, false},
		"under way":              {report(2, v1alpha1.ResultRunning), report(2, v1alpha1.ResultRunning), false},
		"it has ended":           {report(2, v1alpha1.ResultRunning), report(2, v1alpha1.ResultSucceeded), true},
		"and that is told":       {report(2, v1alpha1.ResultSucceeded), report(2, v1alpha1.ResultSucceeded), false},
		"within one pass":        {report(1, v1alpha1.ResultSucceeded), report(2, v1alpha1.ResultSucceeded), true},
		"the next one has begun": {report(2, v1alpha1.ResultSucceeded), report(3, v1alpha1.ResultRunning), false},
	} {
		store := &v1alpha1.ReplicatedStore{}
		store.Status.LastFailover = tc.told
		plan := decide.Plan{Actions: []decide.Action{decide.WriteRecord{}}, Status: v1alpha1.ReplicatedStoreStatus{LastFailover: tc.now}}
		if first, waits := plan.TellFirst(store); first != tc.want || waits {
			t.Errorf("%s: told first %t, and waited for %t", name, first, waits)
		}
		plan.Actions = nil
		if first, _ := plan.TellFirst(store); first {
			t.Errorf("%s: told first, and nothing else is done", name)
		}
	}
}
