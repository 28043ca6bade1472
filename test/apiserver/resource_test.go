package apiserver_test

import (
	"context"
	"encoding/json"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// listed returns the items of a list, with their kinds filled in.
func listed(list client.ObjectList) ([]client.Object, error) {
	var out []client.Object
	err := meta.EachListItem(list, func(o runtime.Object) error {
		kinds, _, err := scheme.ObjectKinds(o)
		if err != nil {
			return err
		}
		o.GetObjectKind().SetGroupVersionKind(kinds[0])
		out = append(out, o.(client.Object))
		return nil
	})
	return out, err
}

var _ = Describe("the scale subresource", func() {
	It("reads and writes replicas, and knows the members' pods", func(ctx SpecContext) {
		s := created(ctx, "orders", storage)
		s.Status.Replicas, s.Status.Selector = 3, "replicatedstore.io/store=orders"
		Expect(k8s.Status().Update(ctx, s)).To(Succeed())
		scale := &autoscalingv1.Scale{}
		Expect(k8s.SubResource("scale").Get(ctx, s, scale)).To(Succeed())
		Expect(scale.Spec.Replicas).To(BeEquivalentTo(3))
		Expect(scale.Status).To(Equal(autoscalingv1.ScaleStatus{Replicas: 3, Selector: "replicatedstore.io/store=orders"}))
		scale.Spec.Replicas = 5
		Expect(k8s.SubResource("scale").Update(ctx, s, client.WithSubResourceBody(scale))).To(Succeed())
		Expect(stored(ctx, "orders").Spec.Size()).To(Equal(5))
	})

	It("keeps the rules", func(ctx SpecContext) {
		s := created(ctx, "orders", storage)
		scale := &autoscalingv1.Scale{}
		Expect(k8s.SubResource("scale").Get(ctx, s, scale)).To(Succeed())
		scale.Spec.Replicas = 1
		Expect(k8s.SubResource("scale").Update(ctx, s, client.WithSubResourceBody(scale))).
			To(refusal("spec.replication.synchronous.number must be below spec.replicas"))
	})
})

var _ = Describe("status", func() {
	It("is written through its subresource only", func(ctx SpecContext) {
		s := created(ctx, "orders", storage)
		s.Status.Leader = "orders-1"
		Expect(k8s.Update(ctx, s)).To(Succeed())
		Expect(stored(ctx, "orders").Status.Leader).To(BeEmpty())
	})

	It("says what was lost in three ways only", func(ctx SpecContext) {
		s := created(ctx, "orders", storage)
		for _, lost := range []string{api.LostNone, api.LostUnknown, "17"} {
			s.Status.LastFailover = &api.FailoverReport{Kind: api.KindFailover, Result: api.ResultSucceeded, WritesLost: lost}
			Expect(k8s.Status().Update(ctx, s)).To(Succeed(), lost)
		}
		s.Status.LastFailover.WritesLost = "some"
		Expect(k8s.Status().Update(ctx, s)).To(refusal("status.lastFailover.writesLost"))
	})
})

// columns returns what kubectl would print for the one store of the namespace, by column name. Priority 0 is the default view.
func columns(ctx context.Context, priority int32) map[string]any {
	GinkgoHelper()
	clients, err := kubernetes.NewForConfig(config)
	Expect(err).NotTo(HaveOccurred())
	data, err := clients.CoreV1().RESTClient().Get().
		AbsPath("/apis", api.GroupName, "v1alpha1", "namespaces", namespace, "replicatedstores").
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(ctx)
	Expect(err).NotTo(HaveOccurred())
	var table metav1.Table
	Expect(json.Unmarshal(data, &table)).To(Succeed())
	Expect(table.Rows).To(HaveLen(1))
	out := map[string]any{}
	for i, c := range table.ColumnDefinitions {
		if c.Priority <= priority {
			out[c.Name] = table.Rows[0].Cells[i]
		}
	}
	return out
}

var _ = Describe("kubectl get", func() {
	BeforeEach(func(ctx SpecContext) {
		s := created(ctx, "orders", storage)
		s.Status = api.ReplicatedStoreStatus{
			Phase: api.PhaseReady, Leader: "orders-2", Epoch: 4,
			Summary: api.StatusSummary{Members: "3/3", Sync: "1 of 2", Lag: "0"},
			Conditions: []metav1.Condition{{Type: api.ConditionReady, Status: metav1.ConditionTrue, Reason: api.ReasonAllMembersReady,
				LastTransitionTime: metav1.Now()}},
			LastFailover: &api.FailoverReport{Kind: api.KindFailover, Result: api.ResultSucceeded, WritesLost: api.LostNone},
		}
		Expect(k8s.Status().Update(ctx, s)).To(Succeed())
	})

	It("shows what matters", func(ctx SpecContext) {
		row := columns(ctx, 0)
		Expect(row).To(HaveKey("Age"))
		delete(row, "Age")
		Expect(row).To(Equal(map[string]any{"Name": "orders", "Status": "Ready", "Leader": "orders-2", "Epoch": float64(4),
			"Members": "3/3", "Sync": "1 of 2", "Lag": "0"}))
	})

	It("shows more on request", func(ctx SpecContext) {
		row := columns(ctx, 1)
		Expect(row).To(HaveKeyWithValue("Reason", "AllMembersReady"))
		Expect(row).To(HaveKeyWithValue("Failover", "Automatic"))
		Expect(row).To(HaveKeyWithValue("Data-Loss", "Forbid"))
		Expect(row).To(HaveKeyWithValue("Durability", "Required"))
		Expect(row).To(HaveKeyWithValue("Lost", "none"))
	})

	It("finds stores by their short name, and among all", func(ctx SpecContext) {
		found, err := discovery.NewDiscoveryClientForConfigOrDie(config).ServerResourcesForGroupVersion(api.GroupVersion.String())
		Expect(err).NotTo(HaveOccurred())
		for _, r := range found.APIResources {
			if !strings.Contains(r.Name, "/") {
				Expect(r.ShortNames).To(ConsistOf("rstore"))
				Expect(r.Categories).To(ConsistOf("all"))
			}
		}
		Expect(found.APIResources).To(ContainElement(HaveField("Name", "replicatedstores/scale")))
	})
})
