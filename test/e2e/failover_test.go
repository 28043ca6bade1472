//go:build e2e

package e2e

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

// One store lives through all of these, as a store in production does.
var _ = Describe("a store of three that loses its leader", Ordered, ContinueOnFailure, func() {
	var store *stage.Store

	BeforeAll(func(ctx SpecContext) { store = create(ctx, nil) }, NodeTimeout(readyTimeout))
	AfterEach(func(ctx SpecContext) {
		explain(ctx, store)
		mend(ctx)
	}, NodeTimeout(readyTimeout))

	// lose runs one fault under load. do returns what mends it, or nil.
	lose := func(ctx context.Context, do func(leader, node string) func()) *v1alpha1.ReplicatedStore {
		GinkgoHelper()
		ready(ctx, store)
		t := begin(ctx, store)
		leader, node, epoch, err := store.Leader(ctx)
		Expect(err).NotTo(HaveOccurred())
		heal := do(leader, node)
		rs := ledAfter(ctx, store, epoch)
		t.writes(ctx, "through the new leader")
		if heal != nil {
			heal()
		}
		t.end(ctx)
		Expect(rs.Status.LastFailover.WritesLost).To(Equal(v1alpha1.LostNone))
		return rs
	}

	It("goes on when the leader's process is killed", func(ctx SpecContext) {
		onOwnCluster()
		lose(ctx, func(leader, _ string) func() {
			Expect(world.Cluster.KillProcess(ctx, store.Namespace, leader)).To(Succeed())
			return nil
		})
	}, SpecTimeout(2*readyTimeout))

	It("goes on when the leader's pod is killed", func(ctx SpecContext) {
		lose(ctx, func(leader, _ string) func() {
			Expect(store.KillPod(ctx, leader)).To(Succeed())
			return nil
		})
	}, SpecTimeout(2*readyTimeout))

	It("goes on when the leader hangs, and the leader learns of it", func(ctx SpecContext) {
		onOwnCluster()
		lose(ctx, func(leader, _ string) func() {
			Expect(world.Cluster.PausePod(ctx, store.Namespace, leader)).To(Succeed())
			return func() { Expect(world.Cluster.ResumePod(ctx, store.Namespace, leader)).To(Succeed()) }
		})
	}, SpecTimeout(2*readyTimeout))

	It("goes on when the leader's node is lost", func(ctx SpecContext) {
		onOwnCluster()
		rs := lose(ctx, func(_, node string) func() {
			Expect(world.Cluster.KillNode(ctx, node)).To(Succeed())
			return func() { Expect(world.Cluster.StartNode(ctx, node)).To(Succeed()) }
		})
		Expect(rs.Status.LastFailover.Kind).To(Equal(v1alpha1.KindFailover))
	}, SpecTimeout(3*readyTimeout))

	It("goes on when the leader's node is cut off", func(ctx SpecContext) {
		onOwnCluster()
		lose(ctx, func(_, node string) func() {
			Expect(world.Cluster.CutNode(ctx, node, "all")).To(Succeed())
			return func() { Expect(world.Cluster.Heal(ctx)).To(Succeed()) }
		})
	}, SpecTimeout(3*readyTimeout))

	It("acknowledges nothing behind the operator's back when only clients still reach the old leader", func(ctx SpecContext) {
		onOwnCluster()
		lose(ctx, func(_, node string) func() {
			Expect(world.Cluster.CutNode(ctx, node, "api")).To(Succeed())
			for n := range workers {
				if other := fmt.Sprintf("n%d", n+1); other != node {
					Expect(world.Cluster.CutNode(ctx, node, other)).To(Succeed())
				}
			}
			return func() { Expect(world.Cluster.Heal(ctx)).To(Succeed()) }
		})
	}, SpecTimeout(3*readyTimeout))

	It("goes on when the operator dies in the middle", func(ctx SpecContext) {
		lose(ctx, func(leader, _ string) func() {
			Expect(store.KillPod(ctx, leader)).To(Succeed())
			Expect(world.KillOperators(ctx)).To(Succeed())
			return nil
		})
	}, SpecTimeout(2*readyTimeout))

	It("moves leadership on request to the member that was named", func(ctx SpecContext) {
		before := ready(ctx, store)
		target := ""
		for _, m := range before.Status.Members {
			if m.Name != before.Status.Leader {
				target = m.Name
			}
		}
		rs := lose(ctx, func(string, string) func() {
			Expect(request(ctx, store, target)).To(Succeed())
			return nil
		})
		Expect(rs.Status.Leader).To(Equal(target))
		Expect(rs.Status.LastFailover.Kind).To(Equal(v1alpha1.KindHandover))
		Expect(rs.Status.FailoverRequest.Result).To(Equal(v1alpha1.ResultSucceeded))
		Expect(rs.Annotations).NotTo(HaveKey(v1alpha1.AnnotationFailover))
	}, SpecTimeout(2*readyTimeout))
})

// request asks for another leader, as a person does.
func request(ctx context.Context, s *stage.Store, target string) error {
	return s.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) {
		if rs.Annotations == nil {
			rs.Annotations = map[string]string{}
		}
		rs.Annotations[v1alpha1.AnnotationFailover] = target
	})
}
