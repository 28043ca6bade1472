//go:build e2e

package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// All machines of the own cluster share one clock. So the members run another build of the node, which adds an hour if the
// member's name ends with -1 (node/wall_skewed.go).
var _ = Describe("the clock of one node is an hour fast", func() {
	It("and leadership goes there and comes back", func(ctx SpecContext) {
		onOwnCluster()
		skewed, _, err := world.TestImage(ctx, "skewedclock")
		Expect(err).NotTo(HaveOccurred())
		store := own(ctx, func(rs *v1alpha1.ReplicatedStore) { rs.Spec.Image = skewed })
		fast := v1alpha1.MemberName(store.Name, 1)
		t := begin(ctx, store)
		if t.leader != fast {
			t.fault("hand over to "+fast, request(ctx, store, fast))
			t.epoch = t.led(ctx).Status.Epoch
		}
		past(ctx, t.began.Add(unrenewed))
		t.writes(ctx, "under the fast leader, for longer than a Lease")
		rs, err := store.Get(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(rs.Status.Leader).To(Equal(fast), "a calendar is no reason for another leader")
		Expect(rs.Status.Epoch).To(Equal(t.epoch))
		t.fault("kill the process of "+fast, world.Cluster.KillProcess(ctx, store.Namespace, fast))
		t.led(ctx)
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))
})
