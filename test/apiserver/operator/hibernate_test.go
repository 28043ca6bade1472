package operator_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

var _ = Describe("a store that hibernates", func() {
	It("keeps its volumes and comes back under the same leader, with every write", func(ctx SpecContext) {
		s := newSite(ctx, "")
		s.ledger.writes(ctx, 20)
		before := s.store(ctx).Status
		s.change(ctx, func(o *api.ReplicatedStore) { o.Spec.Hibernated = true })
		Eventually(func(g Gomega) {
			o := s.store(ctx)
			g.Expect(o.Status.Phase).To(Equal(api.PhaseHibernated))
			g.Expect(s.pods(ctx)).To(BeEmpty())
			g.Expect(condition(o, api.ConditionDegraded)).To(BeEmpty())
			g.Expect(condition(o, api.ConditionFailoverBlocked)).To(BeEmpty())
		}, bounded, polling).Should(Succeed())
		claims := &corev1.PersistentVolumeClaimList{}
		Expect(k8s.List(ctx, claims, inNamespace(s))).To(Succeed())
		Expect(claims.Items).To(HaveLen(3))

		s.annotate(ctx, api.AnnotationReconcile, api.ReconcileDisabled)
		s.change(ctx, func(o *api.ReplicatedStore) {
			o.Spec.Storage.RetentionPolicy.WhenDeleted = api.DeleteClaim
		})
		Eventually(func() api.Phase { return s.store(ctx).Status.Phase }, bounded, polling).Should(Equal(api.PhasePaused))
		Expect(s.reason(ctx, api.ConditionAvailable)).To(Equal(api.ReasonHibernated))
		Consistently(func(g Gomega) {
			g.Expect(k8s.List(ctx, claims, inNamespace(s))).To(Succeed())
			for _, c := range claims.Items {
				g.Expect(c.OwnerReferences).To(BeEmpty(), "a store that is paused is left alone, asleep or not")
			}
		}, "2s", polling).Should(Succeed())
		s.annotate(ctx, api.AnnotationReconcile, "")
		Eventually(func(g Gomega) {
			g.Expect(k8s.List(ctx, claims, inNamespace(s))).To(Succeed())
			for _, c := range claims.Items {
				g.Expect(c.OwnerReferences).To(HaveLen(1), "the retention policy holds for a store without pods too")
			}
		}, bounded, polling).Should(Succeed())

		s.change(ctx, func(o *api.ReplicatedStore) { o.Spec.Hibernated = false })
		s.ready(ctx)
		now := s.store(ctx).Status
		Expect(now.Leader).To(Equal(before.Leader))
		Expect(now.Epoch).To(Equal(before.Epoch + 1))
		Expect(now.LastFailover.Kind).To(Equal(api.KindWake))
		Expect(now.Counters).To(Equal(before.Counters))
		s.ledger.writes(ctx, 5)
		for _, pod := range s.pods(ctx) {
			s.ledger.verify(ctx, s.kubelet.address(pod))
		}
		events := &corev1.EventList{}
		Expect(k8s.List(ctx, events, client.InNamespace(s.namespace))).To(Succeed())
		for _, e := range events.Items {
			Expect(e.Reason).NotTo(HavePrefix("Failover"), e.Message)
		}
	})
})
