//go:build e2e

package e2e

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

var _ = Describe("a member's volume", func() {
	It("is empty when the leader comes back: it counts for nothing until it is seeded", Label(labelQuick), func(ctx SpecContext) {
		onOwnCluster()
		store := usual(ctx)
		t := begin(ctx, store)
		before := incarnation(ctx, store, t.leader)
		t.fault("pause "+t.leader, world.Cluster.PausePod(ctx, store.Namespace, t.leader))
		t.fault("empty its volume", store.EmptyVolume(ctx, t.leader, t.node))
		t.fault("kill its process", world.Cluster.KillProcess(ctx, store.Namespace, t.leader))
		Expect(t.led(ctx).Status.Leader).NotTo(Equal(t.leader), "an empty member must not lead")
		t.end(ctx)
		Expect(incarnation(ctx, store, t.leader)).NotTo(Equal(before))
		t.row.read("status: the member has another incarnation")
	}, SpecTimeout(2*readyTimeout))

	It("is lost: said with what to do, and done", func(ctx SpecContext) {
		onOwnCluster()
		store := own(ctx, nil)
		t := begin(ctx, store)
		victim := t.followers(ctx)[0]
		t.fault("lose the volume of "+victim.member, store.LoseVolume(ctx, victim.member))
		Eventually(ctx, func(g Gomega) {
			var claim corev1.PersistentVolumeClaim
			g.Expect(store.Client.Get(ctx, client.ObjectKey{Namespace: store.Namespace, Name: victim.member}, &claim)).To(Succeed())
			g.Expect(claim.Status.Phase).To(Equal(corev1.ClaimLost))
		}, changeTimeout, 200*time.Millisecond).Should(Succeed())
		t.fault("delete its pod", store.KillPod(ctx, victim.member))
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonMemberMissing, victim.member+" has lost its volume", v1alpha1.AnnotationReseed)
		t.writes(ctx, "without the member")
		t.fault("ask for a new volume", reseed(ctx, store, victim.member, "its volume is lost"))
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))

	It("cannot go away, its claim is terminating and stuck: said, and another member takes its place", func(ctx SpecContext) {
		onOwnCluster()
		store := own(ctx, nil)
		t := begin(ctx, store)
		victim := t.followers(ctx)[0]
		claim, _, err := store.Volume(ctx, victim.member)
		Expect(err).NotTo(HaveOccurred())
		const finalizer = "test.replicatedstore.io/stuck"
		hold := func(finalizers string) error {
			return store.Client.Patch(ctx, claim, client.RawPatch("application/json-patch+json", []byte(finalizers)))
		}
		Expect(hold(`[{"op":"add","path":"/metadata/finalizers/-","value":"` + finalizer + `"}]`)).To(Succeed())
		t.fault("delete the claim of "+victim.member, store.Client.Delete(ctx, claim))
		t.writes(ctx, "while the pod still uses the claim")
		t.fault("delete its pod", store.KillPod(ctx, victim.member))
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonMemberMissing+"|"+v1alpha1.ReasonClaimStuck, victim.member, finalizer)
		t.writes(ctx, "without the member")
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonClaimStuck, victim.member, finalizer)
		rs := ready(ctx, store)
		Expect(rs.Status.Members).To(HaveLen(3), "another member must have taken the place of %s", victim.member)
		Expect(hold(`[{"op":"remove","path":"/metadata/finalizers"}]`)).To(Succeed())
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))
})

var _ = Describe("day 2: a member's data", func() {
	It("is thrown away on request, and the member seeded: not the leader's", func(ctx SpecContext) {
		store := usual(ctx)
		t := planned(ctx, store)
		victim := t.followers(ctx)[0].member
		t.reborn(ctx, victim, func() { t.asks("reseed "+victim, reseed(ctx, store, victim, "on request")) })
		t.asks("reseed "+t.leader+", which leads", reseed(ctx, store, t.leader, "on request"))
		Eventually(ctx, func(g Gomega) {
			pods, err := store.Pods(ctx)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(pods[t.leader].Annotations).NotTo(HaveKey(v1alpha1.AnnotationReseed), "what is refused is taken away")
		}, changeTimeout, pollPeriod).Should(Succeed())
		t.undisturbed(ctx)
		Expect(t.row.Leaderships).To(Equal(1))
	}, SpecTimeout(3*readyTimeout))

	It("is deleted, claim and pod, a follower's and then the leader's: on a new volume it is seeded", func(ctx SpecContext) {
		store := own(ctx, nil)
		t := begin(ctx, store)
		lose := func(member string) func() {
			return func() {
				claim, _, err := store.Volume(ctx, member)
				Expect(err).NotTo(HaveOccurred())
				t.fault("delete the claim of "+member, store.Client.Delete(ctx, claim))
				t.fault("delete its pod", store.Client.Delete(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: store.Namespace, Name: member}}))
			}
		}
		victim := t.followers(ctx)[0].member
		t.reborn(ctx, victim, lose(victim))
		t.reborn(ctx, t.leader, lose(t.leader))
		t.led(ctx)
		t.end(ctx)
	}, SpecTimeout(4*readyTimeout))
})

// reborn calls by and waits until the member is back, with another incarnation on another volume.
func (t *trial) reborn(ctx context.Context, member string, by func()) {
	GinkgoHelper()
	before := incarnation(ctx, t.store, member)
	_, volume, err := t.store.Volume(ctx, member)
	Expect(err).NotTo(HaveOccurred())
	by()
	Eventually(ctx, func() string { return incarnation(ctx, t.store, member) }, readyTimeout, pollPeriod).ShouldNot(BeElementOf(before, ""))
	ready(ctx, t.store)
	_, now, err := t.store.Volume(ctx, member)
	Expect(err).NotTo(HaveOccurred())
	Expect(now.UID).NotTo(Equal(volume.UID))
	t.row.read("status: " + member + " has another incarnation")
}

func incarnation(ctx context.Context, s *stage.Store, member string) string {
	GinkgoHelper()
	rs, err := s.Get(ctx)
	Expect(err).NotTo(HaveOccurred())
	for _, m := range rs.Status.Members {
		if m.Name == member {
			return m.Incarnation
		}
	}
	return ""
}
