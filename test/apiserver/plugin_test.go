package apiserver_test

import (
	"context"
	"os/exec"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/render"
)

// bounded is far longer than any step here takes.
const bounded = 2 * time.Minute

// The plugin's real binary talks to the API server. The spec stands in for the operator, whose part here is to write status.
var _ = Describe("kubectl rstore", Ordered, func() {
	var binary string

	BeforeAll(func() {
		var err error
		binary, err = gexec.Build("github.com/replicatedstore/replicatedstore/cmd/kubectl-rstore")
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(gexec.CleanupBuildArtifacts)
	})

	start := func(args ...string) *gexec.Session {
		GinkgoHelper()
		args = append(args, "--kubeconfig", kubeconfig, "--namespace", namespace)
		session, err := gexec.Start(exec.Command(binary, args...), GinkgoWriter, GinkgoWriter)
		Expect(err).NotTo(HaveOccurred())
		return session
	}
	run := func(code int, args ...string) *gexec.Session {
		GinkgoHelper()
		session := start(args...)
		Eventually(session, bounded).Should(gexec.Exit(code))
		return session
	}

	// publish changes status as the operator does.
	publish := func(ctx context.Context, change func(*api.ReplicatedStoreStatus)) {
		GinkgoHelper()
		s := stored(ctx, "orders")
		change(&s.Status)
		Expect(k8s.Status().Update(ctx, s)).To(Succeed())
	}
	// answer waits for the request, answers it, and takes the annotation away.
	answer := func(ctx context.Context, want string, change func(*api.ReplicatedStoreStatus)) {
		GinkgoHelper()
		Eventually(func() string { return stored(ctx, "orders").Annotations[api.AnnotationFailover] }, bounded).Should(Equal(want))
		publish(ctx, change)
		s := stored(ctx, "orders")
		delete(s.Annotations, api.AnnotationFailover)
		Expect(k8s.Update(ctx, s)).To(Succeed())
	}
	outcome := func(target string, result api.FailoverResult, epoch int64, message string) *api.FailoverRequestStatus {
		return &api.FailoverRequestStatus{Target: target, Result: result, Epoch: epoch, Message: message, FinishedTime: ptr.To(metav1.NowMicro())}
	}

	BeforeEach(func(ctx SpecContext) {
		created(ctx, "orders", storage)
		publish(ctx, func(s *api.ReplicatedStoreStatus) {
			s.Phase, s.Leader, s.Epoch = api.PhaseReady, "orders-1", 3
			for _, name := range []string{"orders-1", "orders-2", "orders-3"} {
				s.Members = append(s.Members, api.MemberStatus{Name: name, Role: api.MemberFollower, Ready: true})
			}
			// An older request with the same target must not be taken for an answer to a new one.
			s.FailoverRequest = outcome("orders-2", api.ResultRefused, 0, "that was yesterday")
			s.FailoverRequest.FinishedTime = ptr.To(metav1.NewMicroTime(time.Now().Add(-24 * time.Hour)))
		})
	})

	It("shows one store, and all of them", func(ctx SpecContext) {
		Expect(run(0, "status", "orders").Out).To(gbytes.Say(`orders  Ready  orders-1 leads epoch 3`))
		created(ctx, "payments", storage)
		all := run(0, "status").Out
		Expect(all).To(gbytes.Say("/orders  Ready"))
		Expect(all).To(gbytes.Say("/payments  not seen by the operator yet"))
		Expect(run(1, "status", "nothing").Err).To(gbytes.Say(`read store .*/nothing: .* not found`))
	})

	It("follows a handover to its end", func(ctx SpecContext) {
		session := start("failover", "orders", "--to", "orders-2")
		Eventually(session.Out, bounded).Should(gbytes.Say(`asked for leader "orders-2" instead of "orders-1"`))
		publish(ctx, func(s *api.ReplicatedStoreStatus) { s.Phase = api.PhaseHandingOver })
		Eventually(session.Out, bounded).Should(gbytes.Say("HandingOver"))
		answer(ctx, "orders-2", func(s *api.ReplicatedStoreStatus) {
			s.Phase, s.Leader, s.Epoch = api.PhaseReady, "orders-2", 4
			s.FailoverRequest = outcome("orders-2", api.ResultSucceeded, 4, "orders-2 leads epoch 4")
			s.LastFailover = &api.FailoverReport{Kind: api.KindHandover, Result: api.ResultSucceeded, From: "orders-1", To: "orders-2",
				Epoch: 4, WritesLost: api.LostNone, DetectedTime: ptr.To(metav1.NowMicro())}
		})
		Eventually(session, bounded).Should(gexec.Exit(0))
		Expect(session.Out).To(gbytes.Say(`Handover of epoch 4: Succeeded, orders-1 -> orders-2`))
		Expect(session.Out).To(gbytes.Say(`lost: none`))
		Expect(session.Out).To(gbytes.Say(`succeeded: orders-2 leads epoch 4`))
		Expect(run(0, "report", "orders").Out).To(gbytes.Say(`Handover of epoch 4`))
	})

	It("waits for the report of what has succeeded, which the operator writes after the answer", func(ctx SpecContext) {
		publish(ctx, func(s *api.ReplicatedStoreStatus) {
			s.LastFailover = &api.FailoverReport{Kind: api.KindBootstrap, Result: api.ResultSucceeded, To: "orders-1", Epoch: 3, WritesLost: api.LostNone}
		})
		session := start("failover", "orders", "--to", "orders-2")
		answer(ctx, "orders-2", func(s *api.ReplicatedStoreStatus) {
			s.FailoverRequest = outcome("orders-2", api.ResultSucceeded, 4, "orders-2 leads epoch 4")
		})
		Consistently(session.Out, "300ms").ShouldNot(gbytes.Say("succeeded"))
		publish(ctx, func(s *api.ReplicatedStoreStatus) {
			s.Leader, s.Epoch = "orders-2", 4
			s.LastFailover.From, s.LastFailover.To, s.LastFailover.Epoch = "orders-1", "orders-2", 4
			s.LastFailover.Kind = api.KindHandover
		})
		Eventually(session, bounded).Should(gexec.Exit(0))
		Expect(session.Out).To(gbytes.Say(`Handover of epoch 4: Succeeded, orders-1 -> orders-2`))
		Expect(session.Out).To(gbytes.Say(`succeeded: orders-2 leads epoch 4`))
	})

	It("does not wait for ever for a report", func(ctx SpecContext) {
		session := start("failover", "orders", "--to", "orders-2")
		answer(ctx, "orders-2", func(s *api.ReplicatedStoreStatus) {
			s.FailoverRequest = outcome("orders-2", api.ResultSucceeded, 4, "orders-2 leads epoch 4")
		})
		Eventually(session, bounded).Should(gexec.Exit(0))
		Expect(session.Out).To(gbytes.Say(`succeeded: orders-2 leads epoch 4`))
	})

	DescribeTable("tells by its exit code how a request ended", func(ctx SpecContext, result api.FailoverResult, code int, saying string) {
		session := start("failover", "orders")
		answer(ctx, api.FailoverToAny, func(s *api.ReplicatedStoreStatus) {
			s.FailoverRequest = outcome(api.FailoverToAny, result, 0, "no follower is caught up")
		})
		Eventually(session, bounded).Should(gexec.Exit(code))
		Expect(session.Err).To(gbytes.Say(saying))
	},
		Entry("refused", api.ResultRefused, 2, "refused: no follower is caught up"),
		Entry("failed", api.ResultFailed, 3, "Failed: no follower is caught up"),
	)

	It("gives up waiting, says what blocks, and leaves the request standing", func(ctx SpecContext) {
		publish(ctx, func(s *api.ReplicatedStoreStatus) {
			s.Phase = api.PhaseBlocked
			s.Conditions = []metav1.Condition{{Type: api.ConditionFailoverBlocked, Status: metav1.ConditionTrue, LastTransitionTime: metav1.Now(),
				Reason: api.ReasonFenceQuorumMissing, Message: "orders-3 does not answer."}}
		})
		session := run(4, "failover", "orders", "--timeout", "20s")
		Expect(session.Err).To(gbytes.Say(`blocked by FenceQuorumMissing: orders-3 does not answer`))
		Expect(stored(ctx, "orders").Annotations).To(HaveKeyWithValue(api.AnnotationFailover, api.FailoverToAny))
		Expect(run(1, "failover", "orders").Err).To(gbytes.Say("another request is in progress"))
	})

	It("asks for nothing that cannot be", func(ctx SpecContext) {
		Expect(run(1, "failover", "orders", "--to", "orders-9").Err).
			To(gbytes.Say(`orders-9 is not a member of store orders \(members: orders-1, orders-2, orders-3\)`))
		Expect(stored(ctx, "orders").Annotations).NotTo(HaveKey(api.AnnotationFailover))
		Expect(run(1, "report", "orders").Err).To(gbytes.Say("has not changed its leader yet"))
	})

	It("does not wait when told not to", func(ctx SpecContext) {
		run(0, "failover", "orders", "--to", "orders-3", "--wait=false")
		Expect(stored(ctx, "orders").Annotations).To(HaveKeyWithValue(api.AnnotationFailover, "orders-3"))
	})

	It("respects a store that is to be left alone", func(ctx SpecContext) {
		s := stored(ctx, "orders")
		s.Annotations = map[string]string{api.AnnotationReconcile: api.ReconcileDisabled}
		Expect(k8s.Update(ctx, s)).To(Succeed())
		for _, verb := range []string{"failover", "fence", "unfence", "restart", "hibernate", "wake"} {
			Expect(run(1, verb, "orders").Err).To(gbytes.Say("the operator is told to leave store orders alone"))
		}
		Expect(stored(ctx, "orders").Fenced()).To(BeFalse())
	})

	It("fences and unfences a store", func(ctx SpecContext) {
		Expect(run(0, "fence", "orders").Out).To(gbytes.Say("asked to fence store orders"))
		Expect(stored(ctx, "orders").Fenced()).To(BeTrue())
		Expect(run(1, "failover", "orders").Err).To(gbytes.Say("store orders is fenced"))
		Expect(run(0, "unfence", "orders").Out).To(gbytes.Say("asked to unfence store orders"))
		Expect(stored(ctx, "orders").Fenced()).To(BeFalse())
	})

	It("restarts a store", func(ctx SpecContext) {
		Expect(run(0, "restart", "orders").Out).To(gbytes.Say("store orders restarts"))
		at, err := time.Parse(time.RFC3339, stored(ctx, "orders").Annotations[api.AnnotationRestart])
		Expect(err).NotTo(HaveOccurred())
		Expect(at).To(BeTemporally("~", time.Now(), time.Minute))
	})

	It("puts a store to sleep and wakes it", func(ctx SpecContext) {
		Expect(run(0, "hibernate", "orders").Out).To(gbytes.Say("store orders goes to sleep"))
		Expect(stored(ctx, "orders").Spec.Hibernated).To(BeTrue())
		Expect(run(0, "wake", "orders").Out).To(gbytes.Say("store orders wakes up"))
		Expect(stored(ctx, "orders").Spec.Hibernated).To(BeFalse())
	})

	It("fences and unfences a member", func(ctx SpecContext) {
		s := stored(ctx, "orders")
		Expect(k8s.Apply(ctx, render.Claim(s, 2, render.Volume{}, true), client.FieldOwner(api.FieldOwner))).To(Succeed())
		Expect(k8s.Apply(ctx, render.Pod(s, 2, render.Options{Image: "example/node:v1"}), client.FieldOwner(api.FieldOwner))).To(Succeed())
		pod := &corev1.Pod{}
		key := client.ObjectKey{Namespace: namespace, Name: "orders-2"}
		run(0, "fence", "orders", "orders-2")
		Expect(k8s.Get(ctx, key, pod)).To(Succeed())
		Expect(pod.Annotations).To(HaveKeyWithValue(api.AnnotationFenced, api.FencedTrue))
		run(0, "unfence", "orders", "orders-2")
		Expect(k8s.Get(ctx, key, pod)).To(Succeed())
		Expect(pod.Annotations).NotTo(HaveKey(api.AnnotationFenced))
		Expect(run(1, "fence", "orders", "payments-1").Err).To(gbytes.Say("payments-1 is not a member of store orders"))
	})
})
