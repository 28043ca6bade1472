//go:build e2e

package e2e

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
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

	It("is out of memory, and killed by the kernel", func(ctx SpecContext) {
		onOwnCluster()
		store := own(ctx, func(rs *v1alpha1.ReplicatedStore) {
			rs.Spec.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")}
		})
		t := begin(ctx, store)
		t.fault("let "+t.leader+" run out of memory", world.Cluster.OOM(ctx, store.Namespace, t.leader))
		t.led(ctx)
		Eventually(ctx, func(g Gomega) {
			pods, err := store.Pods(ctx)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(pods[t.leader].Status.ContainerStatuses).NotTo(BeEmpty())
			ended := pods[t.leader].Status.ContainerStatuses[0].LastTerminationState.Terminated
			g.Expect(ended).NotTo(BeNil())
			g.Expect(ended.Reason).To(Equal("OOMKilled"))
		}, changeTimeout, pollPeriod).Should(Succeed())
		t.row.read("pod: OOMKilled")
		t.end(ctx)
	}, SpecTimeout(2*readyTimeout))

	It("is deleted, its pod, with grace: it hands over first", func(ctx SpecContext) {
		store := usual(ctx)
		t := planned(ctx, store)
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: store.Namespace, Name: t.leader}}
		t.fault("delete "+t.leader, store.Client.Delete(ctx, pod))
		Expect(t.led(ctx).Status.LastFailover.Kind).To(Equal(v1alpha1.KindHandover), "a leader that is told to stop waits to be relieved")
		t.undisturbed(ctx)
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

var _ = Describe("a zone is lost", func() {
	It("with the leader and another of five members: three zones, two synchronous followers", func(ctx SpecContext) {
		onOwnCluster()
		store := own(ctx, func(rs *v1alpha1.ReplicatedStore) {
			rs.Spec.Replicas = new(int32(5))
			rs.Spec.Replication.Synchronous.Number = new(int32(2))
			rs.Spec.Scheduling.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
				MaxSkew: 1, TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.DoNotSchedule,
			}}
		})
		members := map[string][]string{} // by node; each node of the own cluster is the only one in its zone
		pods, err := store.Pods(ctx)
		Expect(err).NotTo(HaveOccurred())
		for name, pod := range pods {
			members[pod.Spec.NodeName] = append(members[pod.Spec.NodeName], name)
		}
		Expect(members).To(HaveLen(workers), "members must be spread over all zones")
		leader, node, epoch, err := store.Leader(ctx)
		Expect(err).NotTo(HaveOccurred())
		if len(members[node]) < 2 { // the zone to lose must have two members
			for n, names := range members {
				if n != node && len(names) == 2 {
					Expect(request(ctx, store, names[0])).To(Succeed())
					leader = names[0]
					break
				}
			}
			ledAfter(ctx, store, epoch)
		}
		t := begin(ctx, store)
		Expect(t.leader).To(Equal(leader))
		lost := members[t.node]
		Expect(lost).To(HaveLen(2))
		t.fault("lose the zone of "+t.node, world.Cluster.KillNode(ctx, t.node))
		t.led(ctx)
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonMemberMissing, lost...)
		t.sees(ctx, v1alpha1.ConditionAvailable, metav1.ConditionTrue, v1alpha1.ReasonWritable)
		t.fault("start "+t.node, world.Cluster.StartNode(ctx, t.node))
		t.end(ctx)
	}, SpecTimeout(4*readyTimeout))
})

// past waits until the given time.
func past(ctx context.Context, at time.Time) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Until(at)):
	}
}
