package decide_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// TestTheRuleIsToldWhileNobodyLeads: a synchronous store is still synchronous when it has no leader.
func TestTheRuleIsToldWhileNobodyLeads(t *testing.T) {
	fence := func(w *world) {
		w.store.Annotations[v1alpha1.AnnotationFenced] = v1alpha1.FencedTrue
		w.untilState(decide.Held)
	}
	sleep := func(w *world) { w.store.Spec.Hibernated = true; w.untilState(decide.Hibernated) }
	for name, tc := range map[string]struct {
		synchronous int32
		leaderless  func(*world)
		number      int32
		voters      int
		sync        string
	}{
		"fenced":               {1, fence, 1, 2, "1 of 2"},
		"asleep":               {1, sleep, 1, 2, "1 of 2"},
		"asleep, asynchronous": {0, sleep, 0, 2, "async"},
		"its failover is blocked": {1, func(w *world) {
			fence(w)
			w.cluster.Vanish("orders-1")
			w.cluster.Vanish("orders-2")
			delete(w.store.Annotations, v1alpha1.AnnotationFenced)
			w.untilState(decide.Blocked)
		}, 1, 2, "1 of 2"},
		"the record is lost": {1, func(w *world) { w.cluster.Vanish("orders-1"); lose(w); w.untilState(decide.RecordLost) }, 0, 0, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, tc.synchronous)
			tc.leaderless(w)
			st := w.store.Status
			if r := st.Replication; st.Leader != "" || r.Number != tc.number || len(r.Voters) != tc.voters || st.Summary.Sync != tc.sync {
				t.Errorf("led by %q: %+v, %q", st.Leader, r, st.Summary.Sync)
			}
		})
	}
	w := newWorld(t, 3, 1)
	w.ops[0].reconcile()
	if s := w.store.Status.Summary.Sync; s != "-" {
		t.Errorf("a new store: %q", s)
	}
}

// TestDurabilityIsNotLoweredWhereNobodyLeads: no write is acknowledged with less than was asked for.
func TestDurabilityIsNotLoweredWhereNobodyLeads(t *testing.T) {
	w := started(t, 3, 2, preferred)
	w.cluster.Vanish("orders-3")
	w.until("k is lowered", func() bool { return w.condition(v1alpha1.ConditionDegraded).Reason == v1alpha1.ReasonDurabilityLowered })
	w.store.Annotations[v1alpha1.AnnotationFenced] = v1alpha1.FencedTrue
	w.untilState(decide.Held)
	w.tells(v1alpha1.ReasonMemberMissing, "orders-3 does not answer")
}

// TestWhyAMemberDoesNotAnswer checks that what Kubernetes knows about it is in the condition that a person reads first.
func TestWhyAMemberDoesNotAnswer(t *testing.T) {
	const node = "its node worker-2 is not ready (NodeStatusUnknown: Kubelet stopped posting node status)"
	for name, tc := range map[string]struct {
		pod   func(*decide.Pod)
		after time.Duration
		want  string
	}{
		"nothing is known": {func(*decide.Pod) {}, 0, "orders-3 does not answer."},
		"its machine":      {func(p *decide.Pod) { p.NodeTrouble = node }, 0, "orders-3 does not answer: " + node + "."},
		"its machine, and it is evicted": {func(p *decide.Pod) { p.NodeTrouble, p.Deleting = node, true }, 0,
			"delete the node, or force-delete the pod (kubectl delete pod orders-3 --force)"},
		"its machine, before it ever ran": {func(p *decide.Pod) { p.NodeTrouble, p.Deleting, p.IP = node, true, "" }, 0,
			"delete the node, or force-delete the pod (kubectl delete pod orders-3 --force)"},
		"it is deleted":           {func(p *decide.Pod) { p.Deleting = true }, 0, "its pod is being deleted"},
		"its container, so far":   {func(p *decide.Pod) { p.Creating = true }, 0, "orders-3 does not answer."},
		"its container, for long": {func(p *decide.Pod) { p.Creating = true }, time.Minute, "its volume may be attached to another machine"},
		"an init container, for long": {func(p *decide.Pod) {
			p.Creating, p.Trouble = true, "init container mesh-init: ImagePullBackOff: no such image"
		}, time.Minute,
			"orders-3 is not running: init container mesh-init: ImagePullBackOff: no such image."},
		"it ended before": {func(p *decide.Pod) { p.Ended = "ended with OOMKilled, exit code 137" }, 0, "orders-3 does not answer: its container ended with OOMKilled"},
		"it does not run": {func(p *decide.Pod) { p.Trouble, p.NodeTrouble = "ImagePullBackOff: no such image", node }, 0,
			"orders-3 is not running: ImagePullBackOff: no such image: " + node + "."},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			w.cluster.Vanish("orders-3")
			tc.pod(w.pods["orders-3"])
			w.run(2*time.Second + tc.after)
			w.tells(v1alpha1.ReasonMemberMissing, tc.want)
		})
	}
	w := started(t, 2, 1)
	w.cluster.Vanish("orders-1")
	w.cluster.Vanish("orders-2")
	w.pods["orders-1"].NodeTrouble = node
	w.run(5 * time.Second)
	if c := w.condition(v1alpha1.ConditionAvailable); c.Reason != v1alpha1.ReasonLeaderUnreachable || !strings.Contains(c.Message, node) {
		t.Errorf("Available is %s %s: %s", c.Status, c.Reason, c.Message)
	}
}

// TestWhyWritesWait checks that status says who is missing, why, and what to do.
func TestWhyWritesWait(t *testing.T) {
	w := started(t, 3, 2)
	w.cluster.Vanish("orders-3")
	w.pods["orders-3"].NodeTrouble = "its node worker-3 is gone"
	w.run(40 * time.Second)
	const want = "A write needs 2 of [orders-2, orders-3], but only 1 of these answer; missing: orders-3 does not answer: its node worker-3 is gone. " +
		"Bring back as many as are needed; or, to acknowledge writes with fewer, lower spec.replication.synchronous.number to 1, or set its durability to Preferred."
	if c := w.condition(v1alpha1.ConditionAvailable); c.Reason != v1alpha1.ReasonVotersMissing || c.Message != want {
		t.Errorf("Available is %s %s: %s", c.Status, c.Reason, c.Message)
	}
	w.store.Spec.Replication.Synchronous.Number = new(int32(1)) // as the message advises
	w.until("writes go on", func() bool { return w.condition(v1alpha1.ConditionAvailable).Status == metav1.ConditionTrue })
	w.write()
}

// TestWhyDurabilityIsLowered: that durability is lowered says by itself neither who is missing nor what to do.
func TestWhyDurabilityIsLowered(t *testing.T) {
	w := started(t, 3, 2, preferred)
	w.cluster.Vanish("orders-3")
	w.pods["orders-3"].Trouble = "Unschedulable: no machine"
	w.run(10 * time.Second)
	w.tells(v1alpha1.ReasonDurabilityLowered, "Writes are acknowledged with 1 followers instead of 2. orders-3 is not running: Unschedulable: no machine.")
}
