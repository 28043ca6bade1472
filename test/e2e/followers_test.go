//go:build e2e

package e2e

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

var _ = Describe("followers are lost", func() {
	It("one, with its node: writes go on", func(ctx SpecContext) {
		onOwnCluster()
		store := usual(ctx)
		t := begin(ctx, store)
		lost := t.followers(ctx)[0]
		t.fault("lose "+lost.node+" with "+lost.member, world.Cluster.KillNode(ctx, lost.node))
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonMemberMissing, lost.member)
		t.sees(ctx, v1alpha1.ConditionAvailable, metav1.ConditionTrue, v1alpha1.ReasonWritable)
		t.writes(ctx, "without the follower")
		t.fault("start "+lost.node, world.Cluster.StartNode(ctx, lost.node))
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))

	It("both, with their nodes: writes stop with a clear error, and resume by themselves", Label(labelQuick), func(ctx SpecContext) {
		onOwnCluster()
		store := usual(ctx)
		// The clients' timeout exceeds the store's own limit, so that clients receive the store's error.
		t := beginWith(ctx, store, ledger.Options{Connections: 6, Rate: 300, Timeout: 15 * time.Second})
		both := t.followers(ctx)
		Expect(world.OperatorsOn(ctx, t.node)).To(Succeed()) // otherwise no operator may be left to report
		DeferCleanup(func(ctx SpecContext) { Expect(world.OperatorsOn(ctx, "")).To(Succeed()) })
		for _, f := range both {
			t.fault("lose "+f.node+" with "+f.member, world.Cluster.KillNode(ctx, f.node))
		}
		t.sees(ctx, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonVotersMissing, both[0].member, both[1].member)
		Eventually(ctx, func(g Gomega) { // first the writes in flight, with unknown outcome; then all others
			g.Expect(t.stats().Unknown).NotTo(BeZero())
			g.Expect(t.stats().LastError).To(And(ContainSubstring("NOREPLICAS"), ContainSubstring("followers")))
		}, changeTimeout, 100*time.Millisecond).Should(Succeed())
		t.row.read("clients: " + t.stats().LastError)
		for _, f := range both {
			t.fault("start "+f.node, world.Cluster.StartNode(ctx, f.node))
		}
		t.writes(ctx, "by themselves")
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))

	It("one together with the leader: blocked, naming gate and override; the override works and says what it may lose", func(ctx SpecContext) {
		onOwnCluster()
		store := own(ctx, nil)
		t := begin(ctx, store)
		lost, left := t.followers(ctx)[0], t.followers(ctx)[1]
		t.fault("lose "+t.node+" with "+t.leader, world.Cluster.KillNode(ctx, t.node))
		t.fault("lose "+lost.node+" with "+lost.member, world.Cluster.KillNode(ctx, lost.node))
		t.sees(ctx, v1alpha1.ConditionFailoverBlocked, metav1.ConditionTrue, v1alpha1.ReasonFenceQuorumMissing,
			t.leader, lost.member, "spec.failover.dataLoss Allow")
		t.sees(ctx, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonLeaderUnreachable+"|"+v1alpha1.ReasonNoLeader)
		Consistently(ctx, func(g Gomega) {
			rs, err := store.Get(ctx)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(rs.Status.Leader).NotTo(Equal(left.member))
		}, 5*time.Second, 200*time.Millisecond).Should(Succeed())
		t.fault("allow loss, one synchronous follower less", store.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) {
			rs.Spec.Failover.DataLoss = v1alpha1.DataLossAllow
			rs.Spec.Replication.Synchronous.Durability = v1alpha1.DurabilityPreferred
		}))
		rs := ledAfter(ctx, store, t.epoch)
		Expect(rs.Status.Leader).To(Equal(left.member))
		Expect(rs.Status.LastFailover.WritesLost).To(Equal(v1alpha1.LostUnknown), "%s", rs.Status.LastFailover.Message)
		t.row.read("report: lost " + rs.Status.LastFailover.WritesLost)
		t.writes(ctx, "through the one that is left")
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonDurabilityLowered)
		t.sees(ctx, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonMembersNotReady, t.leader, lost.member)
		for _, node := range []string{t.node, lost.node} {
			t.fault("start "+node, world.Cluster.StartNode(ctx, node))
		}
		r := t.tally(ctx)
		Expect(r.Phantoms).To(BeZero())
		if r.Lost > 0 {
			note("%d acknowledged writes were lost, as the report said that some may be", r.Lost)
		}
		t.sees(ctx, v1alpha1.ConditionFailoverBlocked, metav1.ConditionFalse, v1alpha1.ReasonNotBlocked)
		t.sees(ctx, v1alpha1.ConditionAvailable, metav1.ConditionTrue, v1alpha1.ReasonWritable)
	}, SpecTimeout(3*readyTimeout))
})
