package operator_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

var _ = Describe("a store of three members", func() {
	It("loses its leader, and no acknowledged write", func(ctx SpecContext) {
		s := newSite(ctx, "")
		s.ledger.writes(ctx, 20)
		old := s.store(ctx).Status
		s.kubelet.kill(old.Leader)
		s.ledger.writes(ctx, 20)
		s.above(ctx, old.Epoch)
		s.kubelet.revive(old.Leader)
		s.ready(ctx)
		report := s.store(ctx).Status.LastFailover
		Expect(report.Kind).To(Equal(api.KindFailover))
		Expect(report.Result).To(Equal(api.ResultSucceeded))
		Expect(report.WritesLost).To(Equal(api.LostNone))
		Expect(report.From).To(Equal(old.Leader))
		Expect(report.Durations.Total).NotTo(BeNil())
		GinkgoWriter.Printf("fencing %v, promoting %v, opening %v, total %v\n", report.Durations.Fencing, report.Durations.Promoting, report.Durations.Opening, report.Durations.Total)
		for _, pod := range s.pods(ctx) {
			Eventually(func() string { return s.kubelet.address(pod) }, bounded).ShouldNot(BeEmpty())
			s.ledger.verify(ctx, s.kubelet.address(pod))
		}
	})

	It("hands over on request, and answers the request", func(ctx SpecContext) {
		s := newSite(ctx, "")
		s.ledger.writes(ctx, 5)
		s.annotate(ctx, api.AnnotationFailover, "orders-3")
		Eventually(func(g Gomega) {
			o := s.store(ctx)
			g.Expect(o.Annotations).NotTo(HaveKey(api.AnnotationFailover))
			g.Expect(o.Status.FailoverRequest).NotTo(BeNil())
			g.Expect(o.Status.FailoverRequest.Result).To(Equal(api.ResultSucceeded), o.Status.FailoverRequest.Message)
			g.Expect(o.Status.Leader).To(Equal("orders-3"))
		}, bounded, polling).Should(Succeed())
		s.ledger.writes(ctx, 5)
		s.ready(ctx)
		Expect(s.store(ctx).Status.LastFailover.Kind).To(Equal(api.KindHandover))
		addr, err := s.readWrite(ctx)
		Expect(err).NotTo(HaveOccurred())
		s.ledger.verify(ctx, addr)
	})

	It("is finished by the next operator when one dies in the middle", func(ctx SpecContext) {
		s := newSite(ctx, "")
		s.ledger.writes(ctx, 5)
		old := s.store(ctx).Status
		s.operator.stop()
		s.kubelet.kill(old.Leader)
		s.operator = startOperator(s.namespace)
		s.above(ctx, old.Epoch)
		s.ledger.writes(ctx, 5)
		addr, err := s.readWrite(ctx)
		Expect(err).NotTo(HaveOccurred())
		s.ledger.verify(ctx, addr)
	})

	It("goes on from the members' promises when its Lease is deleted", func(ctx SpecContext) {
		s := newSite(ctx, "")
		s.ledger.writes(ctx, 5)
		before := s.record(ctx)
		Expect(k8s.Delete(ctx, leaseOf(s))).To(Succeed())
		Eventually(func(g Gomega) { g.Expect(k8s.Get(ctx, keyOf(s), leaseOf(s))).To(Succeed()) }, bounded, polling).Should(Succeed())
		s.above(ctx, int64(before.Epoch)-1)
		s.ready(ctx)
		s.ledger.writes(ctx, 5)
		addr, err := s.readWrite(ctx)
		Expect(err).NotTo(HaveOccurred())
		s.ledger.verify(ctx, addr)
	})

	It("scales down from a follower and up again, with writes all along", func(ctx SpecContext) {
		s := newSite(ctx, "")
		s.annotate(ctx, api.AnnotationFailover, "orders-3")
		Eventually(s.leader, bounded, polling).WithContext(ctx).Should(Equal("orders-3"))
		s.ready(ctx)
		s.change(ctx, func(o *api.ReplicatedStore) { o.Spec.Replicas = new(int32(2)) })
		s.ready(ctx)
		Expect(s.pods(ctx)).To(ConsistOf("orders-1", "orders-3"))
		s.ledger.writes(ctx, 5)
		s.change(ctx, func(o *api.ReplicatedStore) { o.Spec.Replicas = new(int32(3)) })
		s.ready(ctx)
		Expect(s.pods(ctx)).To(ConsistOf("orders-1", "orders-2", "orders-3"))
		s.ledger.writes(ctx, 5)
		s.ledger.verify(ctx, s.kubelet.address("orders-2"))
	})

	It("restarts members one by one for a new template, the leader last", func(ctx SpecContext) {
		s := newSite(ctx, "")
		s.ledger.writes(ctx, 5)
		old := s.store(ctx).Status
		s.change(ctx, func(o *api.ReplicatedStore) { o.Spec.Image = "example/node:v2" })
		Eventually(func(g Gomega) {
			pods := &corev1.PodList{}
			g.Expect(k8s.List(ctx, pods, inNamespace(s))).To(Succeed())
			g.Expect(pods.Items).To(HaveLen(3))
			for _, p := range pods.Items {
				g.Expect(p.Spec.Containers[0].Image).To(Equal("example/node:v2"), p.Name)
			}
		}, 2*bounded, polling).Should(Succeed())
		s.ready(ctx)
		Expect(s.store(ctx).Status.LastFailover.Kind).To(Equal(api.KindHandover))
		Expect(s.store(ctx).Status.Epoch).To(Equal(old.Epoch+1), "one handover")
		s.ledger.writes(ctx, 5)
		addr, err := s.readWrite(ctx)
		Expect(err).NotTo(HaveOccurred())
		s.ledger.verify(ctx, addr)
	})

	It("waits for a person in Manual mode, and says who could lead", func(ctx SpecContext) {
		s := newSite(ctx, "failover: {mode: Manual}\n")
		s.ledger.writes(ctx, 5)
		old := s.store(ctx).Status
		s.kubelet.kill(old.Leader)
		blocked := func(g Gomega) {
			g.Expect(condition(s.store(ctx), api.ConditionFailoverBlocked)).To(Equal(api.ReasonManualMode))
		}
		Eventually(blocked, bounded, polling).Should(Succeed())
		Expect(int64(s.record(ctx).Epoch)).To(Equal(old.Epoch))
		s.annotate(ctx, api.AnnotationFailover, api.FailoverToAny)
		s.above(ctx, old.Epoch)
		s.ledger.writes(ctx, 5)
	})
})

var _ = Describe("a store of one member", func() {
	It("comes back by itself when its process restarts", func(ctx SpecContext) {
		s := newSite(ctx, "replicas: 1\nreplication: {synchronous: {number: 0}}\n")
		s.ledger.writes(ctx, 5)
		epoch := s.store(ctx).Status.Epoch
		s.kubelet.kill("orders-1")
		s.kubelet.revive("orders-1")
		s.above(ctx, epoch)
		s.ledger.writes(ctx, 5)
		s.ledger.verify(ctx, s.kubelet.address("orders-1"))
		Expect(s.store(ctx).Status.LastFailover.WritesLost).To(Equal(api.LostNone))
	})
})

func condition(o *api.ReplicatedStore, kind string) string {
	for _, c := range o.Status.Conditions {
		if c.Type == kind && c.Status == metav1.ConditionTrue {
			return c.Reason
		}
	}
	return ""
}
