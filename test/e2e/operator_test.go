//go:build e2e

package e2e

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
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
		// Kubernetes itself moves the pods of a lost node after five minutes. An administrator who knows that it is lost does so
		// right away.
		Expect(world.Cordon(ctx, t.node)).To(Succeed())
		Expect(world.KillOperators(ctx)).To(Succeed())
		note("the node was cordoned and the operator's pods deleted by force, as a person does who knows that it is lost; Kubernetes alone takes five minutes")
		t.led(ctx)
		t.fault("start "+t.node, world.Cluster.StartNode(ctx, t.node))
		t.end(ctx)
	}, SpecTimeout(4*readyTimeout))
})

// Two releases of different builds, each for its own namespace, as when one team upgrades before another. The CRD is cluster-wide
// and shared.
var _ = Describe("operators of different versions", func() {
	It("each look after their own stores, and leave the other's alone", func(ctx SpecContext) {
		onOwnCluster()
		other, _, err := world.TestImage(ctx, "failpoints")
		Expect(err).NotTo(HaveOccurred())
		const release, system = "other-version", "e2e-other-version"
		ours, err := world.Namespace(ctx, "e2e-ours")
		Expect(err).NotTo(HaveOccurred())
		theirs, err := world.Namespace(ctx, "e2e-theirs")
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func(ctx SpecContext) {
			Expect(world.Uninstall(ctx, release, system)).To(Succeed())
			Expect(world.Install(ctx, image, imageDigest)).To(Succeed())
			used = nil // nobody looked after it meanwhile
		}, NodeTimeout(readyTimeout))
		Expect(world.Install(ctx, image, imageDigest, "watchNamespaces={"+ours+"}")).To(Succeed())
		Expect(world.InstallRelease(ctx, release, system, other, other, other,
			"watchNamespaces={"+theirs+"}", "crds.install=false", "replicas=1")).To(Succeed())

		one, err := world.Create(ctx, ours, manifest, apart)
		Expect(err).NotTo(HaveOccurred())
		two, err := world.Create(ctx, theirs, manifest, apart)
		Expect(err).NotTo(HaveOccurred())
		for store, runs := range map[*stage.Store]string{one: image, two: other} {
			t := begin(ctx, store)
			pods, err := store.Pods(ctx)
			Expect(err).NotTo(HaveOccurred())
			for name, pod := range pods {
				Expect(pod.Spec.Containers[0].Image).To(Equal(runs), "%s/%s", store.Namespace, name)
			}
			t.fault("kill the process of "+t.leader, world.Cluster.KillProcess(ctx, store.Namespace, t.leader))
			t.led(ctx)
			t.end(ctx)
		}
	}, SpecTimeout(4*readyTimeout))
})
