//go:build e2e

package e2e

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

var _ = Describe("the leader", func() {
	It("is killed, its process alone", Label(labelQuick), func(ctx SpecContext) {
		onOwnCluster()
		store := usual(ctx)
		t := begin(ctx, store)
		t.fault("kill the process of "+t.leader, world.Cluster.KillProcess(ctx, store.Namespace, t.leader))
		t.led(ctx)
		t.end(ctx)
	}, SpecTimeout(2*readyTimeout))

	It("is deleted, its pod, with grace", func(ctx SpecContext) {
		store := usual(ctx)
		t := begin(ctx, store)
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: store.Namespace, Name: t.leader}}
		t.fault("delete "+t.leader, store.Client.Delete(ctx, pod))
		t.led(ctx)
		t.end(ctx)
	}, SpecTimeout(2*readyTimeout))

	It("is deleted, its pod, by force", func(ctx SpecContext) {
		store := usual(ctx)
		t := begin(ctx, store)
		t.fault("delete "+t.leader+" without grace", store.KillPod(ctx, t.leader))
		t.led(ctx)
		t.end(ctx)
	}, SpecTimeout(2*readyTimeout))

	It("hangs past its Lease, and goes on", Label(labelQuick), func(ctx SpecContext) {
		onOwnCluster()
		store := usual(ctx)
		t := begin(ctx, store)
		t.fault("pause "+t.leader, world.Cluster.PausePod(ctx, store.Namespace, t.leader))
		t.led(ctx)
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonMemberMissing, t.leader)
		rs, err := store.Get(ctx)
		Expect(err).NotTo(HaveOccurred())
		past(ctx, t.began.Add(time.Duration(rs.Spec.LeaseDuration())*time.Second+time.Second))
		t.fault("resume "+t.leader, world.Cluster.ResumePod(ctx, store.Namespace, t.leader))
		t.end(ctx)
	}, SpecTimeout(2*readyTimeout))

	It("is lost with its node", Label(labelQuick), func(ctx SpecContext) {
		onOwnCluster()
		store := usual(ctx)
		t := begin(ctx, store)
		t.fault("lose "+t.node, world.Cluster.KillNode(ctx, t.node))
		Expect(t.led(ctx).Status.LastFailover.Kind).To(Equal(v1alpha1.KindFailover))
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonMemberMissing, t.leader)
		t.sees(ctx, v1alpha1.ConditionAvailable, metav1.ConditionTrue, v1alpha1.ReasonWritable)
		t.fault("start "+t.node, world.Cluster.StartNode(ctx, t.node))
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))
})

// past waits until a time.
func past(ctx context.Context, at time.Time) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Until(at)):
	}
}
