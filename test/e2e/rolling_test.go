//go:build e2e

package e2e

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// nextTag is the tag of an image with the same programs under another name, which Kubernetes treats as a new release.
const nextTag = "next"

var _ = Describe("day 2: a rolling update", func() {
	It("of image, resources and settings: followers first, the leader last, no client is told of an error", func(ctx SpecContext) {
		onOwnCluster()
		next, _, err := world.ImageAs(ctx, nextTag)
		Expect(err).NotTo(HaveOccurred())
		store := own(ctx, nil)
		t := planned(ctx, store)
		patch := func(change func(*v1alpha1.ReplicatedStoreSpec)) func() error {
			return func() error {
				return store.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) { change(&rs.Spec) })
			}
		}
		t.rolls(ctx, "image", patch(func(s *v1alpha1.ReplicatedStoreSpec) { s.Image = next }))
		t.rolls(ctx, "resources", patch(func(s *v1alpha1.ReplicatedStoreSpec) {
			s.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")}
		}))
		t.rolls(ctx, "settings", patch(func(s *v1alpha1.ReplicatedStoreSpec) { s.Node.MaxClients = new(int32(500)) }))
		pods, err := store.Pods(ctx)
		Expect(err).NotTo(HaveOccurred())
		for name, pod := range pods {
			c := pod.Spec.Containers[0]
			Expect(c.Image).To(Equal(next), name)
			Expect(c.Resources.Limits.Memory().String()).To(Equal("512Mi"), name)
			Expect(c.Args).To(ContainElement("--max-clients=500"), name)
		}
		t.undisturbed(ctx)
	}, SpecTimeout(5*readyTimeout))

	It("waits while a member is missing, says for whom, and goes on by itself", func(ctx SpecContext) {
		onOwnCluster()
		store := own(ctx, nil)
		t := begin(ctx, store)
		lost := t.followers(ctx)[0]
		t.fault("lose "+lost.node+" with "+lost.member, world.Cluster.KillNode(ctx, lost.node))
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonMemberMissing, lost.member)
		w := watchPods(ctx, store)
		defer w.stop()
		t.asks("settings", store.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) { rs.Spec.Node.MaxClients = new(int32(500)) }))
		t.sees(ctx, v1alpha1.ConditionProgressing, metav1.ConditionTrue, v1alpha1.ReasonUpdating, "waiting", lost.member)
		Consistently(ctx, func() []string { order, _ := w.seen(); return order }, 20*time.Second, pollPeriod).Should(BeEmpty(), "nobody else may be restarted")
		t.writes(ctx, "while the update waits")
		t.fault("start "+lost.node, world.Cluster.StartNode(ctx, lost.node))
		Eventually(ctx, func(g Gomega) {
			order, most := w.seen()
			g.Expect(order).To(HaveLen(3))
			g.Expect(order[2]).To(Equal(t.leader), "the leader is the last")
			g.Expect(most).To(BeNumerically("<=", 1))
		}, readyTimeout, pollPeriod).Should(Succeed())
		t.row.read("the update went on by itself, the leader last")
		t.end(ctx)
	}, SpecTimeout(4*readyTimeout))

	It("of the operator alone restarts no member", func(ctx SpecContext) {
		onOwnCluster()
		next, digest, err := world.ImageAs(ctx, nextTag)
		Expect(err).NotTo(HaveOccurred())
		store := usual(ctx)
		t := planned(ctx, store)
		stays := t.stays(ctx)
		DeferCleanup(func(ctx SpecContext) { Expect(world.Install(ctx, image, imageDigest)).To(Succeed()) }, NodeTimeout(readyTimeout))
		t.asks("another operator, which would make members of another image", world.InstallWith(ctx, next, next, digest))
		Expect(world.OperatorsReady(ctx)).To(Succeed())
		t.writes(ctx, "under the new operator")
		ready(ctx, store)
		stays()
		t.undisturbed(ctx)
		Expect(t.row.Leaderships).To(Equal(1))
	}, SpecTimeout(3*readyTimeout))
})

var _ = Describe("day 2: a restart on request", func() {
	It("by the annotation, and by kubectl-rstore", func(ctx SpecContext) {
		store := usual(ctx)
		t := planned(ctx, store)
		t.rolls(ctx, "annotation", func() error { return t.annotates(ctx, v1alpha1.AnnotationRestart, "because") })
		t.rolls(ctx, "kubectl rstore restart", func() error { return store.Plugin(ctx, "restart", store.Name) })
		t.undisturbed(ctx)
	}, SpecTimeout(4*readyTimeout))
})
