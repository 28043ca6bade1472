package decide

import (
	"testing"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
)

// Every crash of a loaded leader leaves a tail that was never acknowledged, and the rejoin cuts it. A synchronous store must
// not be Degraded for ever because of that.
func TestOnlyWhatMayHaveBeenAcknowledgedDegrades(t *testing.T) {
	for name, tc := range map[string]struct {
		rules []replication.Rule
		lost  string
		want  bool
	}{
		"synchronous, nothing lost":      {[]replication.Rule{rule(1, "a", "b")}, v1alpha1.LostNone, false},
		"synchronous, first leadership":  {[]replication.Rule{rule(1, "a", "b")}, "", false},
		"synchronous, loss was accepted": {[]replication.Rule{rule(1, "a", "b")}, v1alpha1.LostUnknown, true},
		"asynchronous":                   {[]replication.Rule{rule(0, "a", "b")}, v1alpha1.LostNone, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := &decision{}
			if got := d.acknowledgedAlone(Record{Rules: tc.rules, Change: Change{WritesLost: tc.lost}}); got != tc.want {
				t.Fatalf("got %v, want %v", got, tc.want)
			}
		})
	}
}
