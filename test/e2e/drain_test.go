//go:build e2e

package e2e

import (
	"context"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

// Volumes of the own cluster stay on their node. So an evicted member waits for its node to come back, as on machines with local
// disks. mend uncordons.
var _ = Describe("day 2: a node", func() {
	It("is cordoned: leadership leaves it, and nothing else happens", Label(labelQuick), func(ctx SpecContext) {
		store := usual(ctx)
		calmly(ctx, store, 0, func(t *trial) {
			stays := t.stays(ctx)
			t.asks("cordon "+t.node, world.Cordon(ctx, t.node))
			r := t.led(ctx).Status.LastFailover
			Expect(r.Kind).To(Equal(v1alpha1.KindHandover))
			Expect(r.Reason).To(Equal("LeaderNodeCordoned"))
			t.asks("uncordon it", world.Uncordon(ctx))
			stays()
		})
	}, SpecTimeout(3*readyTimeout))

	It("is drained, one after the other: leadership leaves first, and one member at a time is away", func(ctx SpecContext) {
		onOwnCluster()
		store := own(ctx, drained)
		t := planned(ctx, store)
		for range workers {
			leader, node, epoch, err := store.Leader(ctx)
			Expect(err).NotTo(HaveOccurred())
			t.asks("drain "+node+" of "+leader, world.Drain(ctx, node, sampleName))
			r := ledAfter(ctx, store, epoch).Status.LastFailover
			Expect(r.Kind).To(Equal(v1alpha1.KindHandover), "%s: %s", r.Reason, r.Message)
			Expect(r.WritesLost).To(Equal(v1alpha1.LostNone))
			t.row.read("report: " + string(r.Kind) + " " + r.Reason)
			t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonMemberMissing, leader, "unschedulable")
			t.sees(ctx, v1alpha1.ConditionAvailable, metav1.ConditionTrue, v1alpha1.ReasonWritable)
			other := r.To
			Expect(apierrors.IsTooManyRequests(evict(ctx, store, other))).To(BeTrue(), "no second member may be evicted while one is away")
			Expect(evict(ctx, store, leader)).To(Succeed(), "one that is away anyway holds up nobody")
			t.asks("uncordon "+node, world.Uncordon(ctx))
			ready(ctx, store)
		}
		t.row.read("eviction of a second member: 429; of the one that is away: granted")
		t.undisturbed(ctx)
	}, SpecTimeout(5*readyTimeout))

	It("is drained under a store of one member: it is let go, said, and comes back", func(ctx SpecContext) {
		onOwnCluster()
		store := own(ctx, func(rs *v1alpha1.ReplicatedStore) {
			drained(rs)
			rs.Spec.Replicas, rs.Spec.Replication.Synchronous.Number = new(int32(1)), new(int32(0))
		})
		t := begin(ctx, store)
		t.asks("drain "+t.node, world.Drain(ctx, t.node, sampleName))
		t.stopped(ctx, time.Second)
		t.sees(ctx, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonLeaderUnreachable, t.leader, "unschedulable")
		t.asks("uncordon it", world.Uncordon(ctx))
		t.led(ctx)
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))
})

// sampleName is the name of every store made from the sample, including those that a demo or a failed case left behind.
const sampleName = "orders"

// drained gives a store another name.
func drained(rs *v1alpha1.ReplicatedStore) { rs.Name = "drained" }

// evict requests one eviction.
func evict(ctx context.Context, s *stage.Store, member string) error {
	return s.Kube.PolicyV1().Evictions(s.Namespace).Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: member}})
}

var _ = Describe("day 2: where members and leaders are", func() {
	It("by default on different nodes and zones; leaders in the preferred zone, to which leadership returns", func(ctx SpecContext) {
		onOwnCluster()
		store := sample(ctx, nil)
		t := planned(ctx, store)
		t.spread(ctx, 1)
		home := t.followers(ctx)[1]
		zone := zoneOf(ctx, home.node)
		t.asks("leaders in zone "+zone+", of "+home.member, store.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) {
			rs.Spec.Failover.PreferredZones, rs.Spec.Failover.ReturnToPreferredZone = []string{zone}, true
		}))
		returns := func(within time.Duration) {
			GinkgoHelper()
			Eventually(ctx, func(g Gomega) {
				rs, err := store.Get(ctx)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(rs.Status.Leader).To(Equal(home.member), "after a minute in which all is well, and two more if it has just failed")
				g.Expect(rs.Status.LastFailover.Result).To(Equal(v1alpha1.ResultSucceeded))
				g.Expect(rs.Status.LastFailover.Reason).To(Equal("PreferredZone"))
			}, within, pollPeriod).Should(Succeed())
		}
		returns(readyTimeout)
		t.row.read("report: Handover PreferredZone")
		t.undisturbed(ctx)

		t = begin(ctx, store)
		t.fault("kill the process of "+t.leader, world.Cluster.KillProcess(ctx, store.Namespace, t.leader))
		Expect(t.led(ctx).Status.Leader).NotTo(Equal(home.member))
		returns(2 * readyTimeout)
		t.end(ctx)
	}, SpecTimeout(5*readyTimeout))

	It("on one node for want of others: told, and no more once one was made anew elsewhere", func(ctx SpecContext) {
		onOwnCluster()
		nodes, err := world.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		Expect(err).NotTo(HaveOccurred())
		nodes.Items = slices.DeleteFunc(nodes.Items, func(n corev1.Node) bool { return len(n.Spec.Taints) > 0 })
		Expect(world.Cordon(ctx, nodes.Items[0].Name)).To(Succeed())
		store := sample(ctx, nil)
		t := planned(ctx, store)
		rs, err := store.Get(ctx)
		Expect(err).NotTo(HaveOccurred())
		followers := t.followers(ctx)
		victim := followers[0]
		if victim.node != followers[1].node && victim.node != t.node {
			victim = followers[1]
		}
		t.sees(ctx, v1alpha1.ConditionSpread, metav1.ConditionFalse, v1alpha1.ReasonMembersTogether, victim.member, "are on node "+victim.node, v1alpha1.AnnotationReseed)
		Expect(rs.Status.Phase).To(Equal(v1alpha1.PhaseReady), "it is a warning")
		Expect(world.Uncordon(ctx)).To(Succeed())
		t.asks("reseed "+victim.member, reseed(ctx, store, victim.member, "there is a node of its own"))
		t.sees(ctx, v1alpha1.ConditionSpread, metav1.ConditionTrue, v1alpha1.ReasonMembersApart)
		ready(ctx, store)
		t.spread(ctx, 1)
		t.undisturbed(ctx)
	}, SpecTimeout(4*readyTimeout))
})

func zoneOf(ctx context.Context, node string) string {
	GinkgoHelper()
	n, err := world.Kube.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	Expect(err).NotTo(HaveOccurred())
	return n.Labels[corev1.LabelTopologyZone]
}
