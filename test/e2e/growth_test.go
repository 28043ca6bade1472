//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

var _ = Describe("day 2: the volumes", func() {
	It("grow while members run, also when the leader's is full", func(ctx SpecContext) {
		onOwnCluster()
		store := onDisksOf(ctx, growingClass(ctx))
		t := begin(ctx, store)
		stays := t.stays(ctx)
		d := diskOf(ctx, store, t.leader, t.node)
		DeferCleanup(d.Free)
		t.fault("fill the disk of "+t.leader, d.Fill(ctx))
		press(ctx, store)
		t.sees(ctx, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonStorageFull, t.leader)
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonStorageFull, t.leader, "Raise spec.storage.size")
		Expect(t.stopped(ctx, 2*time.Second)).To(ContainSubstring("STORAGEFULL"))
		t.asks("1.5Gi instead of 512Mi", size(ctx, store, "1536Mi"))
		t.sees(ctx, v1alpha1.ConditionResizing, metav1.ConditionTrue, v1alpha1.ReasonGrowing+"|"+v1alpha1.ReasonFileSystemResizePending)
		t.grown(ctx, "1536Mi")
		Eventually(ctx, func(g Gomega) { // of the file systems, as the members see them
			rs, err := store.Get(ctx)
			g.Expect(err).NotTo(HaveOccurred())
			for _, m := range rs.Status.Members {
				g.Expect(m.Storage).NotTo(BeNil(), m.Name)
				g.Expect(m.Storage.SizeBytes).To(BeNumerically(">", 1<<30), m.Name)
			}
		}, readyTimeout, pollPeriod).Should(Succeed())
		t.writes(ctx, "once there is room")
		stays()
		t.end(ctx)
	}, SpecTimeout(4*readyTimeout))

	It("grow where it costs nothing, and no client notices", func(ctx SpecContext) {
		store := own(ctx, nil)
		t := planned(ctx, store)
		stays := t.stays(ctx)
		t.asks("2Gi instead of 1Gi", size(ctx, store, "2Gi"))
		t.grown(ctx, "2Gi")
		stays()
		t.undisturbed(ctx)
	}, SpecTimeout(2*readyTimeout))

	It("cannot grow, for their class does not allow it: said with the way out, which works", func(ctx SpecContext) {
		onOwnCluster()
		class := fixedClass(ctx)
		store := own(ctx, func(rs *v1alpha1.ReplicatedStore) { rs.Spec.Storage.StorageClassName = &class })
		t := planned(ctx, store)
		t.asks("2Gi instead of 1Gi", size(ctx, store, "2Gi"))
		t.sees(ctx, v1alpha1.ConditionResizing, metav1.ConditionTrue, v1alpha1.ReasonVolumeNotExpandable, "0 of 3 volumes", v1alpha1.AnnotationReseed)
		replace := func(member string) {
			t.reborn(ctx, member, func() { t.asks("a new volume for "+member, reseed(ctx, store, member, "it cannot grow")) })
		}
		followers := t.followers(ctx)
		for _, f := range followers {
			replace(f.member)
		}
		t.asks("leadership for "+followers[0].member, request(ctx, store, followers[0].member))
		t.led(ctx)
		replace(t.leader)
		t.grown(ctx, "2Gi")
		t.undisturbed(ctx)
	}, SpecTimeout(5*readyTimeout))
})

// growingClass returns a storage class whose file systems can grow while mounted. It uses XFS: for growing ext4, the kernel
// requires a capability that root may lack in a sandbox.
func growingClass(ctx context.Context) string {
	GinkgoHelper()
	return classLike(ctx, stage.LoopClass, "e2e-xfs", func(c *storagev1.StorageClass) { c.Parameters["fileSystem"] = "xfs" })
}

func size(ctx context.Context, s *stage.Store, size string) error {
	return s.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) { rs.Spec.Storage.Size = resource.MustParse(size) })
}

// grown waits until every claim has the size and the store reports it.
func (t *trial) grown(ctx context.Context, size string) {
	GinkgoHelper()
	want := resource.MustParse(size)
	Eventually(ctx, func(g Gomega) {
		pods, err := t.store.Pods(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		for name := range pods {
			var claim corev1.PersistentVolumeClaim
			g.Expect(t.store.Client.Get(ctx, client.ObjectKey{Namespace: t.store.Namespace, Name: name}, &claim)).To(Succeed())
			have := claim.Status.Capacity[corev1.ResourceStorage]
			g.Expect(have.Cmp(want)).To(BeZero(), "%s has %s", name, have.String())
		}
	}, readyTimeout, pollPeriod).Should(Succeed())
	t.sees(ctx, v1alpha1.ConditionResizing, metav1.ConditionFalse, v1alpha1.ReasonSizeAsAskedFor)
	t.row.read(fmt.Sprintf("claims: %s each", size))
}

// fixedClass returns a copy of the own cluster's standard class, whose volumes can grow, that does not permit expansion.
func fixedClass(ctx context.Context) string {
	GinkgoHelper()
	return classLike(ctx, "standard", "e2e-fixed", func(c *storagev1.StorageClass) { c.AllowVolumeExpansion = nil })
}

// classLike creates a modified copy of a storage class, until the spec ends.
func classLike(ctx context.Context, like, name string, change func(*storagev1.StorageClass)) string {
	GinkgoHelper()
	var class storagev1.StorageClass
	Expect(world.Client.Get(ctx, client.ObjectKey{Name: like}, &class)).To(Succeed())
	class.ObjectMeta = metav1.ObjectMeta{Name: name}
	change(&class)
	Expect(client.IgnoreAlreadyExists(world.Client.Create(ctx, &class))).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(client.IgnoreNotFound(world.Client.Delete(ctx, &class))).To(Succeed())
	})
	return class.Name
}
