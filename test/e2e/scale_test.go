//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

var _ = Describe("day 2: the number of members", func() {
	// This uses the sample's own scheduling: members prefer different hosts and spread over zones, so seven run on three nodes.
	It("goes from one to seven and back, and k with it", func(ctx SpecContext) {
		store := sample(ctx, func(rs *v1alpha1.ReplicatedStore) {
			rs.Spec.Replicas, rs.Spec.Replication.Synchronous.Number = new(int32(1)), new(int32(0))
			rs.Spec.Storage.RetentionPolicy.WhenScaled = v1alpha1.DeleteClaim
		})
		t := planned(ctx, store)
		t.asks("seven members", store.Scale(ctx, 7))
		Expect(ready(ctx, store).Status.Members).To(HaveLen(7))
		t.asks("two synchronous followers", store.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) { rs.Spec.Replication.Synchronous.Number = new(int32(2)) }))
		t.rule(ctx, 2, 6)
		t.spread(ctx, 2)
		t.undisturbed(ctx)

		t = planned(ctx, store)
		Expect(store.Scale(ctx, 1)).To(MatchError(ContainSubstring("synchronous.number must be below spec.replicas")), "k of 2 needs three members")
		t.asks("one member, asynchronous", store.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) {
			rs.Spec.Replicas, rs.Spec.Replication.Synchronous.Number = new(int32(1)), new(int32(0))
		}))
		rs := ready(ctx, store)
		Expect(rs.Status.Members).To(HaveLen(1))
		Expect(rs.Status.Epoch).To(Equal(t.epoch), "whoever leads is not removed")
		Eventually(ctx, func(g Gomega) {
			claims, err := world.Kube.CoreV1().PersistentVolumeClaims(store.Namespace).List(ctx, metav1.ListOptions{})
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(claims.Items).To(HaveLen(1), "whenScaled is Delete")
		}, changeTimeout, pollPeriod).Should(Succeed())
		t.undisturbed(ctx)
	}, SpecTimeout(5*readyTimeout))

	It("changes in the middle of a failover, up and down", func(ctx SpecContext) {
		onOwnCluster()
		store := own(ctx, nil)
		t := begin(ctx, store)
		for _, n := range []int{5, 3} {
			leader, _, epoch, err := store.Leader(ctx)
			Expect(err).NotTo(HaveOccurred())
			t.fault("pause "+leader, world.Cluster.PausePod(ctx, store.Namespace, leader))
			time.Sleep(500 * time.Millisecond) // its absence has been noticed, but it is not replaced yet
			t.asks(fmt.Sprintf("%d members", n), store.Scale(ctx, n))
			t.epoch = epoch
			t.led(ctx)
			t.fault("resume "+leader, world.Cluster.ResumePod(ctx, store.Namespace, leader))
			Expect(ready(ctx, store).Status.Members).To(HaveLen(n))
		}
		t.end(ctx)
	}, SpecTimeout(4*readyTimeout))
})

var _ = Describe("day 2: what an acknowledgement means", func() {
	It("changes under load: k from 1 to 2, to 0, and to 1 again", Label(labelQuick), func(ctx SpecContext) {
		store := usual(ctx)
		calmly(ctx, store, 1, func(t *trial) {
			for _, k := range []int{2, 0, 1} {
				t.asks(fmt.Sprintf("k of %d", k), store.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) {
					rs.Spec.Replication.Synchronous.Number = new(int32(k))
				}))
				t.rule(ctx, k, 2)
				t.writes(ctx, fmt.Sprintf("with k of %d", k))
			}
		})
	}, SpecTimeout(3*readyTimeout))

	It("changes while a follower is missing: Required lets writes wait, Preferred weakens and says so", func(ctx SpecContext) {
		onOwnCluster()
		store := own(ctx, func(rs *v1alpha1.ReplicatedStore) { rs.Spec.Replication.Synchronous.Number = new(int32(2)) })
		durability := func(d v1alpha1.Durability) error {
			return store.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) { rs.Spec.Replication.Synchronous.Durability = d })
		}
		t := begin(ctx, store)
		lost := t.followers(ctx)[0].member
		t.fault("pause "+lost, world.Cluster.PausePod(ctx, store.Namespace, lost))
		t.stopped(ctx, 2*time.Second)
		t.sees(ctx, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonVotersMissing, lost)
		t.asks("durability Preferred", durability(v1alpha1.DurabilityPreferred))
		t.writes(ctx, "with less than was asked for")
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonDurabilityLowered, "1 followers instead of 2")
		t.fault("resume "+lost, world.Cluster.ResumePod(ctx, store.Namespace, lost))
		t.rule(ctx, 2, 2)
		t.asks("durability Required", durability(v1alpha1.DurabilityRequired))
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))
})

// rule waits until the only rule in force asks for k of the given number of voters.
func (t *trial) rule(ctx SpecContext, k, voters int) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		rs, err := t.store.Get(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		r := rs.Status.Replication
		g.Expect(r.Changing).To(BeFalse())
		g.Expect(r.Number).To(BeEquivalentTo(k))
		g.Expect(r.Voters).To(HaveLen(voters))
	}, changeTimeout, pollPeriod).Should(Succeed())
	t.row.read(fmt.Sprintf("status: %d of %d", k, voters))
}

// spread asserts that every worker has at least least members.
func (t *trial) spread(ctx SpecContext, least int) {
	GinkgoHelper()
	pods, err := t.store.Pods(ctx)
	Expect(err).NotTo(HaveOccurred())
	on := map[string]int{}
	for _, pod := range pods {
		on[pod.Spec.NodeName]++
	}
	var counts []int
	for _, n := range on {
		counts = append(counts, n)
	}
	slices.Sort(counts)
	Expect(counts).To(HaveLen(workers), "members must be spread over all nodes: %v", on)
	Expect(counts[0]).To(BeNumerically(">=", least), "members must be spread evenly: %v", on)
	t.row.read(fmt.Sprintf("pods: spread over nodes %v", counts))
}
