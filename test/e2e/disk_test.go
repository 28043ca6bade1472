//go:build e2e

package e2e

import (
	"context"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

// onDisks creates a store whose volumes are small separate disks, which can fill up, hang and fail.
func onDisks(ctx context.Context) *stage.Store {
	GinkgoHelper()
	return onDisksOf(ctx, stage.LoopClass)
}

// onDisksOf is onDisks with another storage class of such volumes.
func onDisksOf(ctx context.Context, class string) *stage.Store {
	GinkgoHelper()
	onOwnCluster()
	return own(ctx, func(rs *v1alpha1.ReplicatedStore) {
		rs.Spec.Storage.StorageClassName = &class
		rs.Spec.Storage.Size = resource.MustParse("512Mi")
	})
}

func diskOf(ctx context.Context, s *stage.Store, member, node string) *stage.Disk {
	GinkgoHelper()
	d, err := s.Disk(ctx, member, node)
	Expect(err).NotTo(HaveOccurred())
	return d
}

var _ = Describe("the leader's disk", func() {
	It("is full", func(ctx SpecContext) {
		store := onDisks(ctx)
		t := begin(ctx, store)
		d := diskOf(ctx, store, t.leader, t.node)
		DeferCleanup(d.Free)
		t.fault("fill the disk of "+t.leader, d.Fill(ctx))
		press(ctx, store) // the space that the log has already allocated would take small writes for a long time
		// The leader stays: a store's volumes fill up together, so no other member would take more.
		t.sees(ctx, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonStorageFull, t.leader)
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonStorageFull, t.leader)
		Expect(t.stopped(ctx, 3*time.Second)).To(ContainSubstring("STORAGEFULL"))
		t.fault("free it", d.Free(ctx))
		t.writes(ctx, "once there is room")
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))

	It("hangs", func(ctx SpecContext) {
		store := onDisks(ctx)
		t := begin(ctx, store)
		d := diskOf(ctx, store, t.leader, t.node)
		frozen := true
		DeferCleanup(func(ctx SpecContext) error {
			if !frozen {
				return nil
			}
			return d.Thaw(ctx)
		})
		t.fault("freeze the disk of "+t.leader, d.Freeze(ctx))
		t.led(ctx)
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonDiskStuck, t.leader)
		t.fault("thaw it", d.Thaw(ctx))
		frozen = false
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))

	It("fails, fsync and all: the process ends, and the member is seeded on a new volume", func(ctx SpecContext) {
		store := onDisks(ctx)
		t := begin(ctx, store)
		d := diskOf(ctx, store, t.leader, t.node)
		t.fault("break the disk of "+t.leader, d.Break(ctx))
		t.led(ctx)
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonMemberMissing, t.leader)
		said := lastWords(ctx, store, t.leader)
		Expect(said).To(Or(ContainSubstring("input/output error"), ContainSubstring("read-only file system")), "the process must have said why it ended")
		t.row.read("pod: the process ended and said that its disk fails")
		t.fault("ask for a new volume", reseed(ctx, store, t.leader, "its disk fails"))
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))
})

// press writes a few dozen megabytes, as far as the store takes them.
func press(ctx context.Context, s *stage.Store) {
	GinkgoHelper()
	address, err := s.Address(ctx)
	Expect(err).NotTo(HaveOccurred())
	if err := world.Cluster.InClient(ctx, self(), fillerArgument, address, strconv.Itoa(pressBytes)); err != nil {
		tell("the store took not all: " + err.Error())
	}
}

const pressBytes = 80 << 20

// reseed requests a new volume and new data for a member, as an administrator does.
func reseed(ctx context.Context, s *stage.Store, member, why string) error {
	return annotatePod(ctx, s, member, v1alpha1.AnnotationReseed, why)
}

// lastWords returns the last log lines of the member's previous process.
func lastWords(ctx context.Context, s *stage.Store, member string) string {
	GinkgoHelper()
	var text []byte
	Eventually(ctx, func(g Gomega) {
		pod, err := s.Kube.CoreV1().Pods(s.Namespace).Get(ctx, member, metav1.GetOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(pod.Status.ContainerStatuses).NotTo(BeEmpty())
		g.Expect(pod.Status.ContainerStatuses[0].RestartCount).To(BeNumerically(">", 0))
		text, err = s.Kube.CoreV1().Pods(s.Namespace).GetLogs(member, &corev1.PodLogOptions{Previous: true, TailLines: new(int64(20))}).DoRaw(ctx)
		g.Expect(err).NotTo(HaveOccurred())
	}, changeTimeout, pollPeriod).Should(Succeed())
	return string(text)
}
