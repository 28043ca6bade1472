//go:build e2e

package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// annotationFailpoint is the annotation of controllers/failpoint_on.go.
const annotationFailpoint = "test.replicatedstore.io/failpoint"

// The operator is another build, which can exit at any step of a failover. The members are the regular product.
var _ = Describe("the operator dies in a failover", Ordered, ContinueOnFailure, func() {
	BeforeAll(func(ctx SpecContext) {
		onOwnCluster()
		operator, digest, err := world.TestImage(ctx, "failpoints")
		Expect(err).NotTo(HaveOccurred())
		Expect(world.InstallWith(ctx, operator, image, digest)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) {
			Expect(world.Install(ctx, image, imageDigest)).To(Succeed())
		}, NodeTimeout(readyTimeout))
	}, NodeTimeout(setUpTimeout))

	const quick = "before record Promoting" // in `make test`: promises were given, and nobody is elected yet
	for _, step := range []string{"record Fencing", "fence", "record Promoting", "promote", "label leader", "follow", "record Stable"} {
		for _, when := range []string{"before", "after"} {
			labels := Label()
			if when+" "+step == quick {
				labels = Label(labelQuick)
			}
			It(when+" the step: "+step, labels, func(ctx SpecContext) {
				store := usual(ctx)
				t := begin(ctx, store)
				Expect(store.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) {
					if rs.Annotations == nil {
						rs.Annotations = map[string]string{}
					}
					rs.Annotations[annotationFailpoint] = when + " " + step
				})).To(Succeed())
				t.writes(ctx, "with the failpoint set")
				t.fault("kill the process of "+t.leader, world.Cluster.KillProcess(ctx, store.Namespace, t.leader))
				rs := t.led(ctx)
				Expect(rs.Annotations).NotTo(HaveKey(annotationFailpoint), "the operator must have come to the failpoint and died there")
				t.end(ctx)
			}, SpecTimeout(2*readyTimeout))
		}
	}
})
