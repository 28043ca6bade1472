//go:build e2e

package e2e

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("the operator is lost", func() {
	It("both of it, together with the leader's pod", Label(labelQuick), func(ctx SpecContext) {
		store := usual(ctx)
		t := begin(ctx, store)
		t.fault("kill "+t.leader, store.KillPod(ctx, t.leader))
		t.fault("kill all operators", world.KillOperators(ctx))
		t.led(ctx)
		t.end(ctx)
	}, SpecTimeout(2*readyTimeout))

	It("both of it, on the leader's node, with that node", func(ctx SpecContext) {
		onOwnCluster()
		store := usual(ctx)
		t := begin(ctx, store)
		Expect(world.OperatorsOn(ctx, t.node)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(world.OperatorsOn(ctx, "")).To(Succeed()) })
		t.writes(ctx, "after the operators have moved")
		t.fault("lose "+t.node, world.Cluster.KillNode(ctx, t.node))
		t.stopped(ctx, 5*time.Second)
		// Kubernetes itself moves the pods of a lost node after five minutes; a person who knows that it is lost, at once.
		Expect(world.KillOperators(ctx)).To(Succeed())
		note("the operator's pods were deleted by force, as a person does who knows that the node is lost; Kubernetes alone takes five minutes")
		t.led(ctx)
		t.fault("start "+t.node, world.Cluster.StartNode(ctx, t.node))
		t.end(ctx)
	}, SpecTimeout(4*readyTimeout))
})
