//go:build e2e

package e2e

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

var _ = Describe("day 2: a store is deleted", func() {
	It("and made again under its name: the new one takes over the volumes that were kept, with every write", func(ctx SpecContext) {
		store := own(ctx, nil)
		t := begin(ctx, store)
		t.asks("delete the store", remove(ctx, store))
		gone(ctx, store)
		_, err := world.Create(ctx, store.Namespace, manifest, apart)
		Expect(err).NotTo(HaveOccurred())
		rs := ready(ctx, store)
		r := rs.Status.LastFailover
		Expect(r.Kind).To(Equal(v1alpha1.KindBootstrap))
		Expect(r.Reason).To(Equal("TakenOver"))
		Expect(r.WritesLost).To(Equal(v1alpha1.LostNone))
		Expect(rs.Status.Epoch).To(BeNumerically(">", t.epoch), "epochs go on where the earlier store ended")
		t.row.read("report: Bootstrap TakenOver, lost none")
		// The new store has new Services; clients that use the old address are no concern of it.
		verdict := t.verify(ctx)
		Expect(verdict.First).To(BeEmpty())
		Expect(verdict.OK()).To(BeTrue(), verdict.String())
		note("the gap is the time without a store")
		begin(ctx, store).end(ctx)
	}, SpecTimeout(4*readyTimeout))

	It("with its volumes, where it says so", func(ctx SpecContext) {
		store := own(ctx, func(rs *v1alpha1.ReplicatedStore) { rs.Spec.Storage.RetentionPolicy.WhenDeleted = v1alpha1.DeleteClaim })
		t := begin(ctx, store)
		volumes := map[string]bool{}
		for _, name := range append(t.followers(ctx), place{t.leader, t.node}) {
			_, volume, err := store.Volume(ctx, name.member)
			Expect(err).NotTo(HaveOccurred())
			volumes[volume.Name] = true
		}
		Expect(t.writer.Stop()).To(Succeed())
		t.asks("delete the store", remove(ctx, store))
		gone(ctx, store)
		Eventually(ctx, func(g Gomega) {
			claims, err := world.Kube.CoreV1().PersistentVolumeClaims(store.Namespace).List(ctx, metav1.ListOptions{})
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(claims.Items).To(BeEmpty())
			left, err := world.Kube.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
			g.Expect(err).NotTo(HaveOccurred())
			for _, v := range left.Items {
				g.Expect(volumes).NotTo(HaveKey(v.Name))
			}
		}, readyTimeout, pollPeriod).Should(Succeed())
		t.row.read("claims and volumes: gone")
		// A new store with the same name starts empty.
		_, err := world.Create(ctx, store.Namespace, manifest, apart)
		Expect(err).NotTo(HaveOccurred())
		Expect(ready(ctx, store).Status.Epoch).To(BeEquivalentTo(1))
		begin(ctx, store).end(ctx)
	}, SpecTimeout(4*readyTimeout))

	It("with its namespace, while it is written to, and nothing holds that up", func(ctx SpecContext) {
		store := own(ctx, nil)
		t := begin(ctx, store)
		t.asks("delete the namespace", world.ForgetNamespace(ctx, store.Namespace))
		Eventually(ctx, func(g Gomega) {
			var ns corev1.Namespace
			err := world.Client.Get(ctx, client.ObjectKey{Name: store.Namespace}, &ns)
			g.Expect(apierrors.IsNotFound(err)).To(BeTrue(), "%+v", ns.Status.Conditions)
		}, readyTimeout, pollPeriod).Should(Succeed())
		Expect(t.writer.Stop()).To(Succeed())
		subject = nil
		t.row.read("namespace: gone")
	}, SpecTimeout(2*readyTimeout))
})

func remove(ctx context.Context, s *stage.Store) error {
	rs := &v1alpha1.ReplicatedStore{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name}}
	return s.Client.Delete(ctx, rs)
}

// gone waits until the store and its pods are gone.
func gone(ctx context.Context, s *stage.Store) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		_, err := s.Get(ctx)
		g.Expect(apierrors.IsNotFound(err)).To(BeTrue(), "the store: %v", err)
		pods, err := s.Pods(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(pods).To(BeEmpty())
	}, readyTimeout, pollPeriod).Should(Succeed())
}
