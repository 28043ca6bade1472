package picture_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/cmd/kubectl-rstore/internal/picture"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

var now = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

func ago(d time.Duration) *metav1.MicroTime { return ptr.To(metav1.NewMicroTime(now.Add(-d))) }

func condition(kind string, status metav1.ConditionStatus, reason, message string, since time.Duration) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(now.Add(-since))}
}

// fresh returns a store that the operator has not seen yet.
func fresh() *api.ReplicatedStore {
	return &api.ReplicatedStore{
		ObjectMeta: metav1.ObjectMeta{Name: "orders", Namespace: "shop", Generation: 1},
		Spec: api.ReplicatedStoreSpec{
			Failover: api.FailoverSpec{Mode: api.FailoverAutomatic, DataLoss: api.DataLossForbid},
			Reads:    api.ReadsSpec{Consistency: api.ConsistencySession},
		},
	}
}

// failedOver returns a store that lost its leader orders-1 an hour ago. orders-1 is being seeded.
func failedOver() *api.ReplicatedStore {
	s := fresh()
	s.Status = api.ReplicatedStoreStatus{
		ObservedGeneration: 1, Phase: api.PhaseUpdating, Leader: "orders-2", Epoch: 4, LeaderSince: ago(time.Hour),
		Replication: api.ReplicationStatus{Number: 1, Voters: []string{"orders-3"}},
		Members: []api.MemberStatus{
			{Name: "orders-1", Role: api.MemberFollower, Node: "node-a", Zone: "zone-1", Quarantined: 3,
				Seeding: &api.SeedingStatus{Percent: 45, Done: "1.2GiB", Total: "2.7GiB", Rate: "85MiB/s", TimeLeft: "18s"}},
			{Name: "orders-2", Role: api.MemberLeader, Node: "node-b", Zone: "zone-2", Ready: true, Epoch: 4, Position: 182736},
			{Name: "orders-3", Role: api.MemberFollower, Node: "node-c", Ready: true, Voter: true, Epoch: 4, Position: 182722, Lag: ptr.To[int64](14)},
		},
		Conditions: []metav1.Condition{
			condition(api.ConditionReady, metav1.ConditionFalse, api.ReasonMembersNotReady, "orders-1 is being seeded.", time.Hour),
			condition(api.ConditionAvailable, metav1.ConditionTrue, api.ReasonWritable, "orders-2 acknowledges writes.", time.Hour),
			condition(api.ConditionProgressing, metav1.ConditionTrue, api.ReasonSeeding, "orders-1 receives a snapshot.", time.Minute),
			condition(api.ConditionDegraded, metav1.ConditionTrue, api.ReasonWritesQuarantined, "orders-1 keeps 3 entries.", time.Minute),
			condition(api.ConditionFailoverBlocked, metav1.ConditionFalse, api.ReasonNotBlocked, "", 26*time.Hour),
		},
		LastFailover: finishedFailover(),
		Counters:     api.FailoverCounters{Failovers: 1, Handovers: 2},
	}
	return s
}

func finishedFailover() *api.FailoverReport {
	return &api.FailoverReport{
		Kind: api.KindFailover, Result: api.ResultSucceeded, Reason: "LeaderPodGone", From: "orders-1", To: "orders-2", FromEpoch: 3, Epoch: 4,
		Message: "orders-2 held every acknowledged write.", WritesLost: api.LostNone,
		DetectedTime: ago(time.Hour + 1200*time.Millisecond), FencedTime: ago(time.Hour + 1100*time.Millisecond),
		PromotedTime: ago(time.Hour + 1000*time.Millisecond), WritableTime: ago(time.Hour),
		Positions: []api.ComparedPosition{
			{Member: "orders-1", Note: "does not answer"},
			{Member: "orders-2", Fenced: true, Voter: true, Chosen: true, Epoch: 3, Position: 1000},
			{Member: "orders-3", Fenced: true, Voter: true, Epoch: 3, Position: 998},
		},
	}
}

// blocked returns an asynchronous store that has lost its leader.
func blocked() *api.ReplicatedStore {
	s := fresh()
	s.Generation = 3
	s.Spec.Failover.DataLoss, s.Spec.Failover.MaxLostWrites = api.DataLossBounded, ptr.To[int64](100)
	s.Status = api.ReplicatedStoreStatus{
		ObservedGeneration: 2, Phase: api.PhaseBlocked, Epoch: 8,
		Replication: api.ReplicationStatus{Voters: []string{"orders-2"}},
		Members: []api.MemberStatus{
			{Name: "orders-1", Role: api.MemberUnknown, Problem: "The disk is full."},
			{Name: "orders-2", Role: api.MemberFenced, Ready: false, Epoch: 7, Position: 500, Lag: ptr.To[int64](123456789)},
		},
		Conditions: []metav1.Condition{
			condition(api.ConditionFailoverBlocked, metav1.ConditionTrue, api.ReasonLossBoundExceeded, "Up to 150 writes could be lost.", 3*time.Second),
		},
		LastFailover: &api.FailoverReport{Kind: api.KindFailover, Result: api.ResultBlocked, From: "orders-1", Epoch: 8,
			DetectedTime: ago(5 * time.Second), WritesLost: api.LostUnknown},
		FailoverRequest: &api.FailoverRequestStatus{Target: "orders-2", Result: api.ResultRefused, Message: "it is not caught up"},
	}
	return s
}

// lowered returns a store that acknowledges writes with fewer voters than its spec asks for, while the rule is changing.
func lowered() *api.ReplicatedStore {
	s := fresh()
	s.Spec.Replication.Synchronous = api.SynchronousSpec{Number: ptr.To[int32](2), Durability: api.DurabilityPreferred}
	s.Status = api.ReplicatedStoreStatus{ObservedGeneration: 1, Phase: api.PhaseDegraded, Leader: "orders-1", Epoch: 1,
		Replication: api.ReplicationStatus{Number: 1, Voters: []string{"orders-2"}, Degraded: true, Changing: true}}
	return s
}

// refused returns a store that is to be restarted and whose new pods the API server refuses.
func refused() *api.ReplicatedStore {
	s := fresh()
	s.Status = api.ReplicatedStoreStatus{ObservedGeneration: 1, Phase: api.PhaseUpdating, Leader: "orders-1", Epoch: 1,
		Replication: api.ReplicationStatus{Number: 1, Voters: []string{"orders-2"}},
		Conditions: []metav1.Condition{
			condition(api.ConditionReady, metav1.ConditionTrue, api.ReasonAllMembersReady, "All 3 members are ready.", time.Hour),
			condition(api.ConditionProgressing, metav1.ConditionTrue, api.ReasonApplyFailed, "The API server refuses their new pods.", time.Minute),
		}}
	return s
}

func TestStore(t *testing.T) {
	for name, s := range map[string]*api.ReplicatedStore{
		"fresh": fresh(), "failed-over": failedOver(), "blocked": blocked(), "lowered": lowered(), "refused": refused(),
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := picture.Store(&got, s, now); err != nil {
				t.Fatal(err)
			}
			golden(t, name, got.Bytes())
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update, and read it before committing)", err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s differs; want\n%s\ngot\n%s", path, want, got)
	}
}

type closedPipe struct{}

var errClosed = errors.New("closed pipe")

func (closedPipe) Write([]byte) (int, error) { return 0, errClosed }

// TestWriteErrors checks that errors of the writer are returned.
func TestWriteErrors(t *testing.T) {
	if err := picture.Store(closedPipe{}, fresh(), now); !errors.Is(err, errClosed) {
		t.Errorf("Store returns %v", err)
	}
	if err := picture.Report(closedPipe{}, finishedFailover()); !errors.Is(err, errClosed) {
		t.Errorf("Report returns %v", err)
	}
}
