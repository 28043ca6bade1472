//go:build e2e

package e2e

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

var _ = Describe("the life of a store", Ordered, Label(labelQuick, labelTogether), func() {
	var store *stage.Store

	It("begins with a leader, its followers, and Services that lead to them", func(ctx SpecContext) {
		store = create(ctx, nil)
		rs := ready(ctx, store)
		Expect(rs.Status.Members).To(HaveLen(3))
		Expect(rs.Status.Replication.Voters).To(HaveLen(2))
		Expect(rs.Status.ReadyReplicas).To(BeEquivalentTo(3))
		for _, kind := range []string{
			v1alpha1.ConditionReady, v1alpha1.ConditionAvailable, v1alpha1.ConditionProgressing,
			v1alpha1.ConditionDegraded, v1alpha1.ConditionFailoverBlocked,
		} {
			c := condition(rs, kind)
			Expect(c.Status).NotTo(BeEmpty(), kind)
			Expect(c.ObservedGeneration).To(Equal(rs.Generation), kind)
		}
		var lease coordinationv1.Lease
		Expect(world.Client.Get(ctx, client.ObjectKey{Namespace: store.Namespace, Name: v1alpha1.LeaseName(store.Name)}, &lease)).To(Succeed())
		Expect(lease.Spec.HolderIdentity).To(HaveValue(Equal(rs.Status.Leader)))
		Eventually(ctx, func(g Gomega) {
			g.Expect(behind(ctx, g, store, v1alpha1.ServiceReadWrite(store.Name))).To(ConsistOf(rs.Status.Leader))
			g.Expect(behind(ctx, g, store, v1alpha1.ServiceReadOnly(store.Name))).To(HaveLen(2))
			g.Expect(behind(ctx, g, store, v1alpha1.ServiceReadOnly(store.Name))).NotTo(ContainElement(rs.Status.Leader))
			g.Expect(behind(ctx, g, store, v1alpha1.ServiceRead(store.Name))).To(HaveLen(3))
		}, readyTimeout, 200*time.Millisecond).Should(Succeed())
		begin(ctx, store).end(ctx)
	}, SpecTimeout(2*readyTimeout))

	It("renews the Lease and nothing else on it", func(ctx SpecContext) {
		key := client.ObjectKey{Namespace: store.Namespace, Name: v1alpha1.LeaseName(store.Name)}
		var first, later coordinationv1.Lease
		Expect(world.Client.Get(ctx, key, &first)).To(Succeed())
		Eventually(ctx, func(g Gomega) {
			g.Expect(world.Client.Get(ctx, key, &later)).To(Succeed())
			g.Expect(later.Spec.RenewTime).NotTo(Equal(first.Spec.RenewTime))
		}, changeTimeout, 200*time.Millisecond).Should(Succeed())
		Expect(later.Annotations).To(Equal(first.Annotations))
		Expect(later.Spec.HolderIdentity).To(Equal(first.Spec.HolderIdentity))
	}, SpecTimeout(changeTimeout))

	It("takes a follower more while it is written to", func(ctx SpecContext) {
		t := begin(ctx, store)
		Expect(store.Scale(ctx, 4)).To(Succeed())
		rs := ready(ctx, store)
		Expect(rs.Status.Members).To(HaveLen(4))
		Expect(rs.Status.Replication.Voters).To(HaveLen(3))
		t.end(ctx)
	}, SpecTimeout(2*readyTimeout))

	It("gives a follower back while it is written to", func(ctx SpecContext) {
		t := begin(ctx, store)
		Expect(store.Scale(ctx, 3)).To(Succeed())
		rs := ready(ctx, store)
		Expect(rs.Status.Members).To(HaveLen(3))
		Expect(rs.Status.Replication.Voters).To(HaveLen(2))
		t.end(ctx)
	}, SpecTimeout(2*readyTimeout))

	It("lets nobody else lead in manual mode until a person asks for it", func(ctx SpecContext) {
		onOwnCluster()
		Expect(store.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) { rs.Spec.Failover.Mode = v1alpha1.FailoverManual })).To(Succeed())
		before := ready(ctx, store)
		t := begin(ctx, store)
		t.fault("kill "+t.node, world.Cluster.KillNode(ctx, t.node))
		t.sees(ctx, v1alpha1.ConditionFailoverBlocked, metav1.ConditionTrue, v1alpha1.ReasonManualMode, v1alpha1.AnnotationFailover)
		Consistently(ctx, func(g Gomega) {
			rs, err := store.Get(ctx)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(rs.Status.Leader).To(BeElementOf("", before.Status.Leader), "nobody asked for another leader")
			g.Expect(condition(rs, v1alpha1.ConditionAvailable).Status).NotTo(Equal(metav1.ConditionTrue))
		}, 10*time.Second, 200*time.Millisecond).Should(Succeed())
		Expect(request(ctx, store, v1alpha1.FailoverToAny)).To(Succeed())
		Expect(t.led(ctx).Status.Leader).NotTo(Equal(before.Status.Leader))
		Expect(world.Cluster.StartNode(ctx, t.node)).To(Succeed())
		t.end(ctx)
	}, SpecTimeout(2*readyTimeout))

	It("ends with its pods, and keeps its claims", func(ctx SpecContext) {
		rs, err := store.Get(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(world.Client.Delete(ctx, rs)).To(Succeed())
		Eventually(ctx, func(g Gomega) {
			_, err := store.Get(ctx)
			g.Expect(client.IgnoreNotFound(err)).NotTo(HaveOccurred())
			g.Expect(err).To(HaveOccurred(), "the store is still there")
			pods, err := store.Pods(ctx)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(pods).To(BeEmpty())
		}, readyTimeout, 200*time.Millisecond).Should(Succeed())
		claims, err := world.Kube.CoreV1().PersistentVolumeClaims(store.Namespace).List(ctx, metav1.ListOptions{})
		Expect(err).NotTo(HaveOccurred())
		Expect(claims.Items).NotTo(BeEmpty(), "the sample retains its claims")
		store = nil
	}, SpecTimeout(readyTimeout))
})

// behind returns the members to which a Service sends clients.
func behind(ctx SpecContext, g Gomega, s *stage.Store, service string) []string {
	var slices discoveryv1.EndpointSliceList
	g.Expect(world.Client.List(ctx, &slices, client.InNamespace(s.Namespace),
		client.MatchingLabels{discoveryv1.LabelServiceName: service})).To(Succeed())
	var out []string
	for _, slice := range slices.Items {
		for _, e := range slice.Endpoints {
			if e.TargetRef != nil && e.Conditions.Ready != nil && *e.Conditions.Ready {
				out = append(out, e.TargetRef.Name)
			}
		}
	}
	return out
}
