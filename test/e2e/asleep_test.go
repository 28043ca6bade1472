//go:build e2e

package e2e

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

var _ = Describe("day 2: fencing", func() {
	It("of the leading member: it hands over, follows, and is not elected until that is taken back", func(ctx SpecContext) {
		store := usual(ctx)
		t := planned(ctx, store)
		stays := t.stays(ctx)
		t.asks("fence "+t.leader, annotatePod(ctx, store, t.leader, v1alpha1.AnnotationFenced, v1alpha1.FencedTrue))
		r := t.led(ctx).Status.LastFailover
		Expect(r.Kind).To(Equal(v1alpha1.KindHandover))
		Expect(r.Reason).To(Equal("LeaderPodFenced"))
		t.asks("leadership for it", request(ctx, store, t.leader))
		Eventually(ctx, func(g Gomega) {
			rs, err := store.Get(ctx)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(rs.Status.FailoverRequest).NotTo(BeNil())
			g.Expect(rs.Status.FailoverRequest.Target).To(Equal(t.leader))
			g.Expect(rs.Status.FailoverRequest.Result).To(Equal(v1alpha1.ResultRefused))
			g.Expect(rs.Status.FailoverRequest.Message).To(ContainSubstring(v1alpha1.AnnotationFenced))
		}, changeTimeout, pollPeriod).Should(Succeed())
		t.row.read("request for the fenced member: Refused")
		t.asks("no fence", annotatePod(ctx, store, t.leader, v1alpha1.AnnotationFenced, ""))
		stays()
		t.undisturbed(ctx)
	}, SpecTimeout(2*readyTimeout))

	It("of the store: no write is taken until that is taken back, and none is lost", func(ctx SpecContext) {
		store := usual(ctx)
		// The clients' timeout exceeds the members' for commands that nobody can take, so that clients receive the members'
		// errors.
		t := beginWith(ctx, store, ledger.Options{Connections: 6, Rate: 300, Timeout: 5 * time.Second})
		stays := t.stays(ctx)
		t.asks("fence the store", t.annotates(ctx, v1alpha1.AnnotationFenced, v1alpha1.FencedTrue))
		t.sees(ctx, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonFenced, v1alpha1.AnnotationFenced)
		t.stopped(ctx, 3*time.Second)
		Eventually(ctx, func() string { return t.stats().LastError }, changeTimeout, pollPeriod).Should(ContainSubstring("TRYAGAIN"))
		said := t.stats().LastError
		acknowledged := t.stats().Acknowledged
		Consistently(ctx, func() int64 { return t.stats().Acknowledged }, 5*time.Second, pollPeriod).Should(Equal(acknowledged))
		t.row.read("clients: " + said)
		t.asks("no fence", t.annotates(ctx, v1alpha1.AnnotationFenced, ""))
		t.led(ctx)
		stays()
		t.end(ctx)
	}, SpecTimeout(2*readyTimeout))
})

var _ = Describe("day 2: a store hibernates", func() {
	It("and wakes: no pods meanwhile, the volumes stay, the same member leads, nothing is lost", func(ctx SpecContext) {
		store := own(ctx, nil)
		sleeps := func(yes bool) error {
			return store.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) { rs.Spec.Hibernated = yes })
		}
		t := begin(ctx, store)
		t.asks("sleep", sleeps(true))
		t.sees(ctx, v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonHibernated)
		Eventually(ctx, func(g Gomega) {
			pods, err := store.Pods(ctx)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(pods).To(BeEmpty())
			rs, err := store.Get(ctx)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(rs.Status.Phase).To(Equal(v1alpha1.PhaseHibernated))
		}, readyTimeout, pollPeriod).Should(Succeed())
		t.sees(ctx, v1alpha1.ConditionDegraded, metav1.ConditionFalse, v1alpha1.ReasonAsExpected)
		t.sees(ctx, v1alpha1.ConditionFailoverBlocked, metav1.ConditionFalse, v1alpha1.ReasonNotBlocked)
		claims, err := world.Kube.CoreV1().PersistentVolumeClaims(store.Namespace).List(ctx, metav1.ListOptions{})
		Expect(err).NotTo(HaveOccurred())
		Expect(claims.Items).To(HaveLen(3))
		t.asks("wake", sleeps(false))
		rs := t.led(ctx)
		Expect(rs.Status.Leader).To(Equal(t.leader), "who led before it slept")
		Expect(rs.Status.LastFailover.Kind).To(Equal(v1alpha1.KindWake))
		Expect(rs.Status.Counters.Failovers).To(BeZero(), "sleep is no failover")
		note("the gap is the sleep")
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))
})
