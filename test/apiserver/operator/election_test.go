package operator_test

import (
	"context"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// cuttable is an operator's client for the members that can be cut off.
type cuttable struct {
	nodeclient.Client
	cut atomic.Bool
}

func (c *cuttable) Status(ctx context.Context, to nodeclient.Target) (wire.Status, error) {
	if c.cut.Load() {
		return wire.Status{}, context.DeadlineExceeded
	}
	return c.Client.Status(ctx, to)
}

// rival is one of several operators.
type rival struct {
	*operator
	members *cuttable
}

// startRival starts an operator that acts while it is elected.
func startRival(namespace string) rival {
	GinkgoHelper()
	var r rival
	r.operator = startOperatorWith(namespace, func(mgr ctrl.Manager, rec *controllers.Reconciler) {
		r.members = &cuttable{Client: rec.Nodes}
		rec.Nodes = r.members
		var err error
		rec.Election, err = controllers.NewElection(mgr, controllers.ElectionOptions{
			Namespace: namespace, Name: election, LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: time.Second,
		})
		Expect(err).NotTo(HaveOccurred())
	})
	return r
}

const election = "operators"

// elected returns the holder of the operators' Lease, or "" if there is none.
func (s *site) elected(ctx context.Context) string {
	l := &coordinationv1.Lease{}
	if err := k8s.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: election}, l); err != nil || l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

// scales changes the number of members, and waits until an operator has handled that.
func (s *site) scales(ctx context.Context, n int32) {
	GinkgoHelper()
	s.change(ctx, func(o *api.ReplicatedStore) { o.Spec.Replicas = &n })
	s.ready(ctx)
	Expect(s.pods(ctx)).To(HaveLen(int(n)))
}

var _ = Describe("two operators, of which one is elected", func() {
	It("lose the election and win it, and go on: who does not see the leader leaves it to the other one", func(ctx SpecContext) {
		s := &site{namespace: newNamespace(ctx)}
		s.ledger = &ledger{s: s}
		s.kubelet = startNodes(s.namespace)
		DeferCleanup(s.kubelet.Stop)
		one := startRival(s.namespace)
		DeferCleanup(one.stop)
		s.create(ctx, "")
		s.ready(ctx)
		first := s.elected(ctx)
		two := startRival(s.namespace)

		By("not reaching the leader, which lives")
		one.members.cut.Store(true)
		Eventually(s.elected, bounded, polling).WithContext(ctx).ShouldNot(BeElementOf(first, ""))
		second := s.elected(ctx)
		s.scales(ctx, 4)
		s.ledger.writes(ctx, 5)
		Eventually(func(g Gomega) {
			said := &eventsv1.EventList{}
			g.Expect(k8s.List(ctx, said, inNamespace(s))).To(Succeed())
			g.Expect(said.Items).To(ContainElement(SatisfyAll(
				HaveField("Reason", api.ReasonOperatorBlind), HaveField("Regarding.Kind", "Lease"), HaveField("Regarding.Name", election),
			)))
		}, bounded, polling).Should(Succeed())
		Expect(one.done).NotTo(Receive(), "it goes on")

		By("the other one's end")
		one.members.cut.Store(false)
		two.stop()
		Eventually(s.elected, bounded, polling).WithContext(ctx).Should(Equal(first))
		s.scales(ctx, 3)

		By("a Lease that somebody else has taken")
		l := &coordinationv1.Lease{}
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: election}, l)).To(Succeed())
		before := l.DeepCopy()
		l.Spec.HolderIdentity, l.Spec.RenewTime = &second, &metav1.MicroTime{Time: time.Now()}
		Expect(k8s.Patch(ctx, l, client.MergeFrom(before))).To(Succeed())
		Eventually(s.elected, bounded, polling).WithContext(ctx).Should(Equal(first))
		s.scales(ctx, 4)
		s.ledger.writes(ctx, 5)
		Expect(one.done).NotTo(Receive(), "it goes on")
	})
})
