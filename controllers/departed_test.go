package controllers

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

func does[A decide.Action](plan decide.Plan) bool {
	return slices.ContainsFunc(plan.Actions, func(a decide.Action) bool { _, ok := a.(A); return ok })
}

// A leader's pod is deleted by force, and its process has two more seconds: it hands over, and its successor's pod is made
// once the process has ended. Previously, it led until it was killed, or held the writes of a handover for just as
// long.
func TestLeaderDeletedByForceHandsOver(t *testing.T) {
	s := newScene(t)
	for n := range 3 {
		claim := corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MemberName("orders", n+1), UID: "claim"}}
		claim.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(s.store, v1alpha1.GroupVersionKind())}
		s.cache.claims = append(s.cache.claims, claim)
	}
	s.server.claims = s.cache.claims
	_ = s.look(t)
	s.cache.pods = slices.Clone(s.cache.pods[1:])
	s.server.pods = s.cache.pods

	plan := s.look(t)
	if plan.State != decide.HandingOver || !does[decide.HandOver](plan) || does[decide.CreateMember](plan) || does[decide.LabelPod](plan) {
		t.Fatalf("%v: %s: %v", plan.Outcome(), plan.Message, fmt.Sprint(plan.Actions))
	}
	delete(s.members.is, "orders-1")
	if plan = s.look(t); !does[decide.CreateMember](plan) {
		t.Fatalf("once it has ended: %v: %s: %v", plan.Outcome(), plan.Message, fmt.Sprint(plan.Actions))
	}
}

// A leader that was told to end says so itself: the pod object does not show it when the machine is shut down, and shows it
// late while the operator's watches are down. (An operator that had just lost the API server saw its leader's pod being
// deleted only after it was gone.)
func TestLeaderThatSaysItLeavesHandsOver(t *testing.T) {
	s := newScene(t)
	s.settled(t)
	leader := s.members.is["orders-1"]
	leader.Leaving = true
	s.members.is["orders-1"] = leader
	if plan := s.look(t); plan.State != decide.HandingOver || !does[decide.HandOver](plan) {
		t.Fatalf("%v: %s: %v", plan.Outcome(), plan.Message, fmt.Sprint(plan.Actions))
	}
	for _, follower := range []string{"orders-2", "orders-3"} {
		f := s.members.is[follower]
		f.Leaving = true
		s.members.is[follower] = f
	}
	if plan := s.look(t); does[decide.HandOver](plan) {
		t.Fatalf("it hands over to one that leaves too: %s", plan.Message)
	}
}

// What refuses the connection may be the pod after the leader's, which does not listen yet: that does not prove that the
// leader's process is dead.
func TestRefusalOfALeadersSuccessorProvesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		replaced, dead bool
	}{
		"the leader's own pod": {false, true},
		"the one after it":     {true, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.settled(t)
			delete(s.members.is, "orders-1")
			for _, follower := range []string{"orders-2", "orders-3"} {
				f := s.members.is[follower]
				f.Contact = &wire.Contact{Refused: true}
				s.members.is[follower] = f
			}
			if tc.replaced {
				s.cache.pods[0].UID = "after"
			}
			plan := s.look(t)
			i := slices.IndexFunc(plan.Actions, func(a decide.Action) bool { _, ok := a.(decide.WriteRecord); return ok })
			if plan.State != decide.Fencing || i < 0 {
				t.Fatalf("%v: %s: %v", plan.Outcome(), plan.Message, fmt.Sprint(plan.Actions))
			}
			if got := plan.Actions[i].(decide.WriteRecord).Record.LeaderDead; got != tc.dead {
				t.Errorf("dead: %t", got)
			}
		})
	}
}

// A pod that was told to go no longer counts as ready, though its kubelet says so until its containers have ended.
func TestMemberWhosePodIsToldToGoIsNotReady(t *testing.T) {
	s := newScene(t)
	ready := func() (v1alpha1.MemberStatus, int32) {
		st := s.look(t).Status
		i := slices.IndexFunc(st.Members, func(m v1alpha1.MemberStatus) bool { return m.Name == "orders-3" })
		return st.Members[i], st.ReadyReplicas
	}
	if m, n := ready(); !m.Ready || n != 3 {
		t.Fatalf("%d are ready, %+v", n, m)
	}
	s.cache.pods = slices.Clone(s.cache.pods)
	s.cache.pods[2].DeletionTimestamp = &metav1.Time{Time: s.Clock.Now()}
	if m, n := ready(); m.Ready || n != 2 {
		t.Fatalf("%d are ready, %+v", n, m)
	}
}
