package operator_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/render"
)

// collect stands in for the garbage collector, which does not run here: until the spec ends, it deletes the objects that uid owns. A pass of
// the operator that was under way when the store was deleted may still make some.
func (s *site) collect(ctx SpecContext, uid string) {
	GinkgoHelper()
	s.collectOnce(ctx, uid)
	stop, done := make(chan struct{}), make(chan struct{})
	DeferCleanup(func() { close(stop); <-done })
	go func() {
		defer GinkgoRecover()
		defer close(done)
		for {
			select {
			case <-time.After(time.Second):
				s.collectOnce(context.Background(), uid)
			case <-stop:
				return
			}
		}
	}()
}

// collectOnce deletes the objects that uid owns now.
func (s *site) collectOnce(ctx context.Context, uid string) {
	GinkgoHelper()
	lists := []client.ObjectList{&corev1.PodList{}, &coordinationv1.LeaseList{}, &corev1.PersistentVolumeClaimList{}, &corev1.ServiceList{},
		&corev1.ServiceAccountList{}, &rbacv1.RoleList{}, &rbacv1.RoleBindingList{}, &policyv1.PodDisruptionBudgetList{}}
	for _, l := range lists {
		Expect(k8s.List(ctx, l, inNamespace(s))).To(Succeed())
		objects, err := meta.ExtractList(l)
		Expect(err).NotTo(HaveOccurred())
		for _, o := range objects {
			if c := metav1.GetControllerOf(o.(metav1.Object)); c != nil && string(c.UID) == uid {
				Expect(client.IgnoreNotFound(k8s.Delete(ctx, o.(client.Object), client.GracePeriodSeconds(0)))).To(Succeed())
			}
		}
	}
}

var _ = Describe("a store that is deleted and made again under its name", func() {
	It("waits for what the earlier one leaves, and finds its data", func(ctx SpecContext) {
		s := newSite(ctx, "")
		s.ledger.writes(ctx, 10)
		before := s.store(ctx)
		for _, pod := range s.pods(ctx) {
			o := &corev1.Pod{}
			Expect(k8s.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: pod}, o)).To(Succeed())
			Expect(o.Finalizers).To(BeEmpty(), "nothing of the operator's holds up a deletion")
		}
		Expect(before.Finalizers).To(BeEmpty())
		Expect(k8s.Delete(ctx, before)).To(Succeed())
		s.create(ctx, "")
		Eventually(func(g Gomega) {
			g.Expect(s.reason(ctx, api.ConditionAvailable)).To(Equal(api.ReasonBootstrapping))
			g.Expect(s.message(ctx, api.ConditionAvailable)).To(ContainSubstring("The Lease of an earlier store of this name still exists"))
		}, bounded, polling).Should(Succeed())
		s.collect(ctx, string(before.UID))
		s.ready(ctx)
		now := s.store(ctx)
		Expect(now.UID).NotTo(Equal(before.UID))
		Expect(now.Status.Epoch).To(BeNumerically(">", before.Status.Epoch))
		Expect(now.Status.LastFailover.Reason).To(Equal("TakenOver"))
		Expect(now.Status.LastFailover.WritesLost).To(Equal(api.LostNone))
		s.ledger.writes(ctx, 5)
		addr, err := s.readWrite(ctx)
		Expect(err).NotTo(HaveOccurred())
		s.ledger.verify(ctx, addr)
	})

	It("takes over volumes of another class than it asks for, and says so", func(ctx SpecContext) {
		s := emptySite(ctx)
		class := func(name string) string { return "storage: {size: 1Gi, storageClassName: " + name + "}\n" }
		s.create(ctx, class("slow"))
		s.ready(ctx)
		before := s.store(ctx)
		Expect(k8s.Delete(ctx, before)).To(Succeed())
		s.collect(ctx, string(before.UID))
		s.create(ctx, class("fast"))
		s.ready(ctx)
		Expect(s.message(ctx, api.ConditionResizing)).To(ContainSubstring("are not of class fast: orders-1, orders-2, orders-3"))
		Expect(s.store(ctx).Status.ObservedGeneration).To(Equal(s.store(ctx).Generation))
	})

	It("asks how many members there were where it is to have more, and makes those beside a leader", func(ctx SpecContext) {
		s := newSite(ctx, "")
		s.ledger.writes(ctx, 10)
		before := s.store(ctx)
		Expect(k8s.Delete(ctx, before)).To(Succeed())
		s.collect(ctx, string(before.UID))
		s.create(ctx, "replicas: 5\n")
		Eventually(func() string { return s.message(ctx, api.ConditionFailoverBlocked) }, bounded, polling).Should(
			ContainSubstring("volumes of 3 members, but 5 are asked for: until there is a leader, set spec.replicas"))
		Expect(s.pods(ctx)).To(ConsistOf("orders-1", "orders-2", "orders-3"))
		s.change(ctx, func(o *api.ReplicatedStore) { o.Spec.Replicas = new(int32(3)) })
		s.ready(ctx)
		s.change(ctx, func(o *api.ReplicatedStore) { o.Spec.Replicas = new(int32(5)) })
		s.ready(ctx)
		Expect(s.store(ctx).Status.LastFailover.WritesLost).To(Equal(api.LostNone))
		Expect(s.pods(ctx)).To(HaveLen(5))
		addr, err := s.readWrite(ctx)
		Expect(err).NotTo(HaveOccurred())
		s.ledger.verify(ctx, addr)
	})

	It("leaves a Lease of somebody else alone, and says so", func(ctx SpecContext) {
		s := emptySite(ctx)
		foreign := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "orders"}, Spec: coordinationv1.LeaseSpec{HolderIdentity: new("an application")}}
		Expect(k8s.Create(ctx, foreign)).To(Succeed())
		s.create(ctx, "")
		Eventually(func() string { return s.message(ctx, api.ConditionAvailable) }, bounded, polling).Should(ContainSubstring("is not owned by this store"))
		Expect(k8s.Get(ctx, keyOf(s), foreign)).To(Succeed())
		Expect(foreign.Annotations).NotTo(HaveKey(api.AnnotationRecord))
		Expect(k8s.Delete(ctx, foreign)).To(Succeed())
		s.ready(ctx)
	})

	It("takes over what was orphaned, record and data", func(ctx SpecContext) {
		s := newSite(ctx, "")
		s.ledger.writes(ctx, 10)
		before := s.store(ctx)
		s.operator.stop()
		Expect(k8s.Delete(ctx, before)).To(Succeed())
		s.orphan(ctx)
		s.operator = startOperator(s.namespace)
		s.create(ctx, "")
		s.ready(ctx)
		Expect(s.store(ctx).Status.Epoch).To(BeNumerically(">", before.Status.Epoch))
		lease := leaseOf(s)
		Expect(k8s.Get(ctx, keyOf(s), lease)).To(Succeed())
		Expect(metav1.IsControlledBy(lease, s.store(ctx))).To(BeTrue())
		s.ledger.writes(ctx, 5)
		addr, err := s.readWrite(ctx)
		Expect(err).NotTo(HaveOccurred())
		s.ledger.verify(ctx, addr)
	})
})

// orphan stands in for the garbage collector on a deletion that leaves the children: it removes their owner references.
func (s *site) orphan(ctx SpecContext) {
	GinkgoHelper()
	for _, l := range []client.ObjectList{&corev1.PodList{}, &coordinationv1.LeaseList{}, &corev1.ServiceList{}, &corev1.ServiceAccountList{},
		&rbacv1.RoleList{}, &rbacv1.RoleBindingList{}, &policyv1.PodDisruptionBudgetList{}} {
		Expect(k8s.List(ctx, l, inNamespace(s))).To(Succeed())
		objects, err := meta.ExtractList(l)
		Expect(err).NotTo(HaveOccurred())
		for _, o := range objects {
			if metav1.GetControllerOf(o.(metav1.Object)) != nil {
				Expect(k8s.Patch(ctx, o.(client.Object), client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"ownerReferences":null}}`)))).To(Succeed())
			}
		}
	}
}

var _ = Describe("claims of a version that gave them the store's name as app.kubernetes.io/instance", func() {
	It("lose it, and keep everything else", func(ctx SpecContext) {
		s := newSite(ctx, "")
		s.operator.stop()
		for ordinal := 1; ordinal <= 3; ordinal++ {
			claim := &corev1.PersistentVolumeClaim{}
			Expect(k8s.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: api.MemberName("orders", ordinal)}, claim)).To(Succeed())
			Expect(claim.Labels).NotTo(HaveKey(api.LabelAppInstance))
			older := render.Claim(s.store(ctx), ordinal, render.VolumeOf(claim), true).WithLabels(map[string]string{api.LabelAppInstance: "orders"})
			Expect(k8s.Apply(ctx, older, client.FieldOwner(api.FieldOwner), client.ForceOwnership)).To(Succeed())
		}
		claims := &corev1.PersistentVolumeClaimList{}
		Expect(k8s.List(ctx, claims, inNamespace(s), client.MatchingLabels{api.LabelAppInstance: "orders"})).To(Succeed())
		Expect(claims.Items).To(HaveLen(3))
		s.operator = startOperator(s.namespace)
		Eventually(func(g Gomega) {
			g.Expect(k8s.List(ctx, claims, inNamespace(s), client.MatchingLabels{api.LabelAppInstance: "orders"})).To(Succeed())
			g.Expect(claims.Items).To(BeEmpty())
		}, bounded, polling).Should(Succeed())
		Expect(k8s.List(ctx, claims, inNamespace(s), client.MatchingLabels{api.LabelStore: "orders", api.LabelAppName: api.AppName})).To(Succeed())
		Expect(claims.Items).To(HaveLen(3))
	})
})
