//go:build e2e

package e2e

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

	It("from its followers alone", func(ctx SpecContext) {
		onOwnCluster()
		t := begin(ctx, usual(ctx))
		for _, f := range t.followers(ctx) {
			t.fault("cut "+t.node+" from "+f.node, world.Cluster.CutNode(ctx, t.node, f.node))
		}
		t.led(ctx)
		t.fault("heal", world.Cluster.Heal(ctx))
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))

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
		t.led(ctx)
		t.fault("heal", world.Cluster.Heal(ctx))
		ready(ctx, store)
		t.end(ctx)
		Expect(kept(ctx, store, t.leader)).To(BeNumerically(">", 0), "what %s wrote alone must be in quarantine", t.leader)
		t.row.read("status: what was cut is counted as quarantined")
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

// kept is how many entries a member has in quarantine, as status says.
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
