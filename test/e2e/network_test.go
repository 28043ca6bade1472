//go:build e2e

package e2e

import (
	"context"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

var _ = Describe("the leader's node is cut off", func() {
	It("from everything", Label(labelQuick), func(ctx SpecContext) {
		onOwnCluster()
		t := begin(ctx, usual(ctx))
		t.fault("cut "+t.node, world.Cluster.CutNode(ctx, t.node, "all"))
		t.led(ctx)
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonMemberMissing, t.leader)
		t.fault("heal", world.Cluster.Heal(ctx))
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))

	It("from the API server alone: writes go on", func(ctx SpecContext) {
		onOwnCluster()
		store := usual(ctx)
		t := begin(ctx, store)
		t.fault("cut "+t.node+" from the API server", world.Cluster.CutNode(ctx, t.node, "api"))
		t.writes(ctx, "while the leader cannot renew its Lease")
		past(ctx, t.began.Add(unrenewed))
		t.writes(ctx, "after its Lease has expired")
		t.fault("heal", world.Cluster.Heal(ctx))
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))

	DescribeTable("from its followers alone", func(ctx SpecContext, beside bool) {
		onOwnCluster()
		store := usual(ctx)
		acting := ledWhereOperator(ctx, store, beside)
		t := begin(ctx, store)
		Expect(t.node == acting.Spec.NodeName).To(Equal(beside), "%s leads on %s, the operator that acts is on %s", t.leader, t.node, acting.Spec.NodeName)
		for _, f := range t.followers(ctx) {
			t.fault("cut "+t.node+" from "+f.node, world.Cluster.CutNode(ctx, t.node, f.node))
		}
		t.led(ctx)
		if beside {
			Eventually(ctx, func(g Gomega) {
				now, _, err := world.Operators(ctx)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(now.Name).NotTo(Equal(acting.Name), "it does not see the new leader")
			}, blindTimeout, pollPeriod).Should(Succeed())
			t.row.read("the operator that does not see the new leader left acting to the other one")
		}
		t.sees(ctx, v1alpha1.ConditionAvailable, metav1.ConditionTrue, v1alpha1.ReasonWritable)
		Consistently(ctx, func(g Gomega) {
			rs, err := store.Get(ctx)
			g.Expect(err).NotTo(HaveOccurred())
			c := condition(rs, v1alpha1.ConditionAvailable)
			g.Expect(c.Status).To(Equal(metav1.ConditionTrue), "%s: %s", c.Reason, c.Message)
		}, unrenewed, pollPeriod).Should(Succeed())
		t.fault("heal", world.Cluster.Heal(ctx))
		t.end(ctx)
		pod := &corev1.Pod{}
		Expect(world.Client.Get(ctx, client.ObjectKeyFromObject(acting), pod)).To(Succeed())
		Expect(restartsOf(pod)).To(Equal(restartsOf(acting)), "no operator ends because of this")
	},
		Entry("and the acting operator with it", SpecTimeout(3*readyTimeout), true),
		Entry("and not from the acting operator's", SpecTimeout(3*readyTimeout), false),
	)

	It("from its followers alone, with both operators on its side: said, and over by itself", func(ctx SpecContext) {
		onOwnCluster()
		store := usual(ctx)
		ready(ctx, store)
		_, node, _, err := store.Leader(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(world.OperatorsOn(ctx, node)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(world.OperatorsOn(ctx, "")).To(Succeed()) })
		t := begin(ctx, store)
		Expect(t.node).To(Equal(node))
		for _, f := range t.followers(ctx) {
			t.fault("cut "+t.node+" from "+f.node, world.Cluster.CutNode(ctx, t.node, f.node))
		}
		t.sees(ctx, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonVotersMissing+"|"+v1alpha1.ReasonLeaderNotWritable)
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonMemberMissing, t.followers(ctx)[0].member, t.followers(ctx)[1].member)
		t.fault("heal", world.Cluster.Heal(ctx))
		t.writes(ctx, "by themselves")
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))

	It("from everything but its clients: it acknowledges nothing, and what it wrote is cut and kept", func(ctx SpecContext) {
		onOwnCluster()
		store := usual(ctx)
		t := begin(ctx, store)
		t.fault("cut "+t.node+" from the API server", world.Cluster.CutNode(ctx, t.node, "api"))
		for _, f := range t.followers(ctx) {
			t.fault("cut "+t.node+" from "+f.node, world.Cluster.CutNode(ctx, t.node, f.node))
		}
		Expect(admits(ctx, t.address(ctx), "")).NotTo(Succeed(), "a write that %s has alone", t.leader)
		t.led(ctx)
		t.fault("heal", world.Cluster.Heal(ctx))
		ready(ctx, store)
		t.end(ctx)
		Expect(kept(ctx, store, t.leader)).To(BeNumerically(">", 0), "what %s wrote alone must be in quarantine", t.leader)
		for _, verb := range [][]string{{"list"}, {"export", "--format", "redis"}, {"remove", "--all"}} {
			Expect(store.Exec(ctx, t.leader, slices.Concat([]string{"/node", "quarantine", verb[0], "--data", "/data/store"}, verb[1:])...)).To(Succeed())
		}
		Eventually(ctx, func() int64 { return kept(ctx, store, t.leader) }, readyTimeout, pollPeriod).Should(BeZero(), "it was removed")
		t.row.read("status: what was cut is counted as quarantined, until `quarantine remove`")
	}, SpecTimeout(3*readyTimeout))

	DescribeTable("one way", func(ctx SpecContext, direction string) {
		onOwnCluster()
		t := begin(ctx, usual(ctx))
		t.fault("cut what goes "+direction+" of "+t.node, world.Cluster.CutOneWay(ctx, t.node, "all", direction))
		t.led(ctx)
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonMemberMissing, t.leader)
		t.fault("heal", world.Cluster.Heal(ctx))
		t.end(ctx)
	},
		Entry("it hears nobody", SpecTimeout(3*readyTimeout), "in"),
		Entry("nobody hears it", SpecTimeout(3*readyTimeout), "out"),
	)
})

// blindTimeout is longer than an operator takes to notice that it cannot see the leaders, and another one to be elected.
const blindTimeout = time.Minute

// ledWhereOperator moves leadership to the active operator's machine, or to another one, and returns that operator. The other
// operators run elsewhere.
func ledWhereOperator(ctx context.Context, s *stage.Store, beside bool) *corev1.Pod {
	GinkgoHelper()
	ready(ctx, s)
	var acting *corev1.Pod
	find := func(g Gomega) {
		now, others, err := world.Operators(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(others).NotTo(BeEmpty(), "one must be left to fail over")
		for _, o := range others {
			g.Expect(o.Spec.NodeName).NotTo(Equal(now.Spec.NodeName), "operators on one machine")
		}
		acting = now
	}
	Eventually(ctx, find, changeTimeout, pollPeriod).Should(Succeed())
	_, node, _, err := s.Leader(ctx)
	Expect(err).NotTo(HaveOccurred())
	if (node == acting.Spec.NodeName) == beside {
		return acting
	}
	pods, err := s.Pods(ctx)
	Expect(err).NotTo(HaveOccurred())
	for name, pod := range pods {
		if pod.Spec.NodeName == node || (pod.Spec.NodeName == acting.Spec.NodeName) != beside {
			continue
		}
		Expect((&trial{store: s}).annotates(ctx, v1alpha1.AnnotationFailover, name)).To(Succeed())
		Eventually(ctx, func(g Gomega) {
			rs, err := s.Get(ctx)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(rs.Status.Leader).To(Equal(name))
		}, changeTimeout, pollPeriod).Should(Succeed())
		return acting
	}
	Fail("no member runs where it should lead")
	return nil
}

// kept returns how many entries a member has in quarantine, according to status.
func kept(ctx context.Context, s *stage.Store, member string) int64 {
	GinkgoHelper()
	rs, err := s.Get(ctx)
	Expect(err).NotTo(HaveOccurred())
	for _, m := range rs.Status.Members {
		if m.Name == member {
			return int64(m.Quarantined)
		}
	}
	return 0
}
