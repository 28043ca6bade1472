package operator_test

import (
	"context"
	"encoding/json"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// site is a namespace with a kubelet, an operator and one store named orders.
type site struct {
	namespace string
	kubelet   *nodes
	operator  *operator
	ledger    *ledger
}

const storage = "storage: {size: 1Gi}\n"

// newSite starts a site with a ready store.
func newSite(ctx context.Context, spec string) *site {
	GinkgoHelper()
	s := emptySite(ctx)
	s.create(ctx, spec)
	s.ready(ctx)
	return s
}

// emptySite starts a site without a store.
func emptySite(ctx context.Context) *site {
	GinkgoHelper()
	s := &site{namespace: newNamespace(ctx)}
	s.ledger = &ledger{s: s}
	s.kubelet = startNodes(s.namespace)
	s.operator = startOperator(s.namespace)
	DeferCleanup(func() { s.operator.stop(); s.kubelet.Stop() })
	return s
}

// create creates the store.
func (s *site) create(ctx context.Context, spec string) {
	GinkgoHelper()
	var fields map[string]any
	Expect(yaml.Unmarshal([]byte(storage+spec), &fields)).To(Succeed())
	u := &unstructured.Unstructured{Object: map[string]any{"spec": fields}}
	u.SetGroupVersionKind(api.GroupVersionKind())
	u.SetNamespace(s.namespace)
	u.SetName("orders")
	Expect(k8s.Create(ctx, u)).To(Succeed())
}

// reason returns the reason and message of a condition, or "" if it is not set.
func (s *site) reason(ctx context.Context, kind string) string {
	if c := meta.FindStatusCondition(s.store(ctx).Status.Conditions, kind); c != nil {
		return c.Reason
	}
	return ""
}

func (s *site) message(ctx context.Context, kind string) string {
	if c := meta.FindStatusCondition(s.store(ctx).Status.Conditions, kind); c != nil {
		return c.Message
	}
	return ""
}

func (s *site) store(ctx context.Context) *api.ReplicatedStore {
	GinkgoHelper()
	o := &api.ReplicatedStore{}
	Expect(k8s.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "orders"}, o)).To(Succeed())
	return o
}

// ready waits until the store reports that it is as specified.
func (s *site) ready(ctx context.Context) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		o := s.store(ctx)
		g.Expect(o.Status.ObservedGeneration).To(Equal(o.Generation))
		ready := meta.FindStatusCondition(o.Status.Conditions, api.ConditionReady)
		g.Expect(ready).NotTo(BeNil())
		g.Expect(ready.Status).To(BeEquivalentTo("True"), "%s: %s", ready.Reason, ready.Message)
		g.Expect(o.Status.Phase).To(Equal(api.PhaseReady), "%+v", o.Status.Conditions)
	}, bounded, polling).Should(Succeed())
}

func (s *site) leader(ctx context.Context) string { return s.store(ctx).Status.Leader }

// record returns the authority record, which must always be readable.
func (s *site) record(ctx context.Context) decide.Record {
	GinkgoHelper()
	l := &coordinationv1.Lease{}
	Expect(k8s.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "orders"}, l)).To(Succeed())
	r, err := decide.DecodeRecord(l.Annotations[api.AnnotationRecord])
	Expect(err).NotTo(HaveOccurred())
	return *r
}

// change edits the store.
func (s *site) change(ctx context.Context, edit func(*api.ReplicatedStore)) {
	GinkgoHelper()
	o := s.store(ctx)
	old := o.DeepCopy()
	edit(o)
	Expect(k8s.Patch(ctx, o, client.MergeFrom(old))).To(Succeed())
}

// annotate sets an annotation of the store; "" removes it.
func (s *site) annotate(ctx context.Context, key, value string) {
	GinkgoHelper()
	var v any
	if value != "" {
		v = value
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{key: v}}})
	Expect(err).NotTo(HaveOccurred())
	Expect(k8s.Patch(ctx, s.store(ctx), client.RawPatch("application/merge-patch+json", patch))).To(Succeed())
}

func (s *site) pods(ctx context.Context) []string {
	GinkgoHelper()
	pods := &corev1.PodList{}
	Expect(k8s.List(ctx, pods, client.InNamespace(s.namespace))).To(Succeed())
	var out []string
	for _, p := range pods.Items {
		out = append(out, p.Name)
	}
	return out
}

// above waits for a stable leadership above the given epoch.
func (s *site) above(ctx context.Context, epoch int64) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		r := s.record(ctx)
		g.Expect(r.Phase).To(Equal(decide.PhaseStable))
		g.Expect(int64(r.Epoch)).To(BeNumerically(">", epoch))
	}, bounded, polling).Should(Succeed())
}

func keyOf(s *site) client.ObjectKey { return client.ObjectKey{Namespace: s.namespace, Name: "orders"} }

func leaseOf(s *site) *coordinationv1.Lease {
	l := &coordinationv1.Lease{}
	l.Namespace, l.Name = s.namespace, "orders"
	return l
}

func inNamespace(s *site) client.ListOption { return client.InNamespace(s.namespace) }
