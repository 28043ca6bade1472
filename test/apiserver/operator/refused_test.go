package operator_test

import (
	"context"
	"maps"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// uids returns the UIDs of the pods, by name.
func (s *site) uids(ctx context.Context) map[string]types.UID {
	GinkgoHelper()
	pods, out := &corev1.PodList{}, map[string]types.UID{}
	Expect(k8s.List(ctx, pods, inNamespace(s))).To(Succeed())
	for _, p := range pods.Items {
		if p.DeletionTimestamp == nil {
			out[p.Name] = p.UID
		}
	}
	return out
}

// refusal waits until status tells why the API server rejects the new pods.
func (s *site) refusal(ctx context.Context, words string) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		g.Expect(s.message(ctx, api.ConditionProgressing)).To(ContainSubstring(words))
		g.Expect(s.reason(ctx, api.ConditionProgressing)).To(Equal(api.ReasonApplyFailed))
	}, bounded, polling).Should(Succeed())
}

// restarted waits until all pods have been replaced and the store is well.
func (s *site) restarted(ctx context.Context, before map[string]types.UID) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		now := s.uids(ctx)
		g.Expect(now).To(HaveLen(len(before)))
		for name, uid := range now {
			g.Expect(uid).NotTo(Equal(before[name]), name)
		}
	}, 2*bounded, polling).Should(Succeed())
	s.ready(ctx)
}

var _ = Describe("a store whose new pods the API server refuses", func() {
	It("keeps those that it has, says why, and goes on once the spec is mended", func(ctx SpecContext) {
		s := newSite(ctx, "")
		before, epoch := s.uids(ctx), s.record(ctx).Epoch
		s.change(ctx, func(o *api.ReplicatedStore) { o.Spec.Scheduling.PriorityClassName = "nowhere-" + s.namespace })
		s.refusal(ctx, "3 members are to be restarted, but the API server rejects the new pods: ")
		s.refusal(ctx, "no PriorityClass with name nowhere-")

		s.change(ctx, func(o *api.ReplicatedStore) {
			o.Spec.Scheduling.PriorityClassName = ""
			o.Spec.Scheduling.NodeSelector = map[string]string{"disk": "not a label value"}
		})
		s.refusal(ctx, "spec.nodeSelector")
		s.ledger.writes(ctx, 5)
		Expect(s.uids(ctx)).To(Equal(before))
		Expect(s.record(ctx).Epoch).To(Equal(epoch))

		s.change(ctx, func(o *api.ReplicatedStore) { o.Spec.Scheduling.NodeSelector = map[string]string{"disk": "fast"} })
		s.restarted(ctx, before)
		s.ledger.writes(ctx, 5)
	})

	It("waits for what the pods need, also when it is one pod that leads, and a person asks for its restart", func(ctx SpecContext) {
		s := newSite(ctx, "replicas: 1\nreplication: {synchronous: {number: 0}}")
		before := s.uids(ctx)
		class := "later-" + s.namespace
		s.change(ctx, func(o *api.ReplicatedStore) { o.Spec.Scheduling.PriorityClassName = class })
		s.annotate(ctx, api.AnnotationRestart, "monday")
		s.refusal(ctx, "no PriorityClass with name "+class)
		s.ledger.writes(ctx, 5)
		Expect(s.uids(ctx)).To(Equal(before))
		Expect(k8s.Create(ctx, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: class}, Value: 1})).To(Succeed())
		s.restarted(ctx, before)
	})

	// full creates a quota with no room left.
	full := func(ctx context.Context, s *site, of corev1.ResourceList) *corev1.ResourceQuota {
		GinkgoHelper()
		quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "full"}, Spec: corev1.ResourceQuotaSpec{Hard: of}}
		Expect(k8s.Create(ctx, quota)).To(Succeed())
		quota.Status = corev1.ResourceQuotaStatus{Hard: of, Used: maps.Clone(of)} // as the quota controller would count
		Expect(k8s.Status().Update(ctx, quota)).To(Succeed())
		return quota
	}

	It("is not restarted for more than a quota has room for", func(ctx SpecContext) {
		s := newSite(ctx, "")
		before := s.uids(ctx)
		quota := full(ctx, s, corev1.ResourceList{corev1.ResourceRequestsMemory: resource.MustParse("1Gi")})
		s.change(ctx, func(o *api.ReplicatedStore) {
			o.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}
		})
		s.refusal(ctx, "exceeded quota: full, requested: requests.memory=64Mi, used: requests.memory=1Gi, limited: requests.memory=1Gi")
		Expect(s.uids(ctx)).To(Equal(before))
		Expect(k8s.Delete(ctx, quota)).To(Succeed())
		s.restarted(ctx, before)
	})

	It("is restarted where a quota has no room for one pod more", func(ctx SpecContext) {
		s := newSite(ctx, "")
		before := s.uids(ctx)
		quota := full(ctx, s, corev1.ResourceList{corev1.ResourcePods: resource.MustParse("3")})
		s.change(ctx, func(o *api.ReplicatedStore) { o.Spec.Scheduling.NodeSelector = map[string]string{"disk": "fast"} })
		Eventually(func(g Gomega) { g.Expect(s.uids(ctx)).NotTo(Equal(before)) }, bounded, polling).Should(Succeed())
		Expect(s.reason(ctx, api.ConditionProgressing)).NotTo(Equal(api.ReasonApplyFailed))
		Expect(k8s.Delete(ctx, quota)).To(Succeed()) // no quota controller runs here to notice the freed resources
		s.restarted(ctx, before)
	})
})
