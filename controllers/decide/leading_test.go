package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// TestStatusNamesNoLeaderThatIsLost: the record names the leader until another one is possible, but status tells people who
// actually leads.
func TestStatusNamesNoLeaderThatIsLost(t *testing.T) {
	w := started(t, 3, 1)
	if st := w.store.Status; st.Leader != "orders-1" || st.LeaderSince == nil {
		t.Fatalf("%q leads since %v", st.Leader, st.LeaderSince)
	}
	w.cluster.Vanish("orders-1")
	w.cluster.Vanish("orders-3")
	w.untilState(decide.Blocked)
	if st := w.store.Status; st.Leader != "" || st.LeaderSince != nil || w.rec().Leader.Member != "orders-1" {
		t.Errorf("blocked: %q leads since %v", st.Leader, st.LeaderSince)
	}
	w.kubelet()
	w.untilState(decide.Stable)
	if st := w.store.Status; st.Leader != w.rec().Leader.Member || st.LeaderSince == nil {
		t.Errorf("healed: %q leads since %v", st.Leader, st.LeaderSince)
	}
	leader := w.store.Status.Leader
	w.cluster.Cut(leader, operatorA) // its voters still hear it
	w.run(10 * time.Second)
	if got := w.store.Status.Leader; got != leader || w.rec().Leader.Member != leader {
		t.Errorf("heard by its voters alone: %q leads in place of %s", got, leader)
	}
}
