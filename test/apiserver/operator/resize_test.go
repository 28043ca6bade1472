package operator_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

var _ = Describe("a store whose volumes are to grow", func() {
	It("says so when the API server does not let them, and works on", func(ctx SpecContext) {
		s := newSite(ctx, "")
		before := &corev1.PodList{}
		Expect(k8s.List(ctx, before, inNamespace(s))).To(Succeed())
		s.change(ctx, func(o *api.ReplicatedStore) {
			o.Spec.Storage.Size = resource.MustParse("2Gi")
			o.Spec.PodMetadata.Labels = map[string]api.LabelValue{"team": "payments"}
		})
		// The amount of log to keep depends on the size. A running pod cannot adopt a new amount, and its labels do not wait for
		// that.
		Eventually(func(g Gomega) {
			now := &corev1.PodList{}
			g.Expect(k8s.List(ctx, now, inNamespace(s))).To(Succeed())
			g.Expect(now.Items).To(HaveLen(len(before.Items)))
			for i, pod := range now.Items {
				g.Expect(pod.UID).To(Equal(before.Items[i].UID), pod.Name)
				g.Expect(pod.Labels).To(HaveKeyWithValue("team", "payments"), pod.Name)
				g.Expect(pod.Labels).To(HaveKey(api.LabelRole), pod.Name)
			}
		}, bounded, polling).Should(Succeed())
		Eventually(func() string { return s.reason(ctx, api.ConditionResizing) }, bounded, polling).Should(Equal(api.ReasonVolumeNotExpandable))
		Expect(s.message(ctx, api.ConditionResizing)).To(ContainSubstring("0 of 3 volumes have 2Gi"))
		s.ready(ctx)
		s.ledger.writes(ctx, 5)
		gone := &corev1.Pod{}
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "orders-3"}, gone)).To(Succeed())
		Expect(k8s.Delete(ctx, gone, client.GracePeriodSeconds(0))).To(Succeed())
		Eventually(func(g Gomega) { // with the volume that it has
			again := &corev1.Pod{}
			g.Expect(k8s.Get(ctx, client.ObjectKeyFromObject(gone), again)).To(Succeed())
			g.Expect(again.UID).NotTo(Equal(gone.UID))
		}, bounded, polling).Should(Succeed())
		s.ready(ctx)
		s.change(ctx, func(o *api.ReplicatedStore) { o.Spec.PodMetadata.Labels = nil })
		Eventually(func(g Gomega) {
			now := &corev1.PodList{}
			g.Expect(k8s.List(ctx, now, inNamespace(s))).To(Succeed())
			for _, pod := range now.Items {
				g.Expect(pod.Labels).NotTo(HaveKey("team"), pod.Name)
			}
		}, bounded, polling).Should(Succeed())
	})

	It("says how far they are", func(ctx SpecContext) {
		s := newSite(ctx, "")
		claims := &corev1.PersistentVolumeClaimList{}
		Expect(k8s.List(ctx, claims, inNamespace(s))).To(Succeed())
		for i := range claims.Items { // stands in for the binder and the driver
			c := &claims.Items[i]
			old := c.DeepCopy()
			c.Status.Phase, c.Status.Capacity = corev1.ClaimBound, corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
			if c.Name == "orders-1" {
				c.Status.Capacity[corev1.ResourceStorage] = resource.MustParse("2Gi")
			} else {
				c.Status.Conditions = []corev1.PersistentVolumeClaimCondition{{Type: corev1.PersistentVolumeClaimFileSystemResizePending, Status: corev1.ConditionTrue}}
			}
			Expect(k8s.Status().Patch(ctx, c, client.MergeFrom(old))).To(Succeed())
		}
		s.change(ctx, func(o *api.ReplicatedStore) { o.Spec.Storage.Size = resource.MustParse("2Gi") })
		Eventually(func() string { return s.message(ctx, api.ConditionResizing) }, bounded, polling).Should(Or(
			ContainSubstring("1 of 3 volumes have 2Gi"), ContainSubstring("dynamically provisioned")))
	})
})
