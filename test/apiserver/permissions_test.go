package apiserver_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/render"
	"github.com/replicatedstore/replicatedstore/test/apiserver/server"
)

// as returns a client with exactly the permissions of user.
func as(user string) client.Client {
	GinkgoHelper()
	who := rest.CopyConfig(config)
	who.Impersonate = rest.ImpersonationConfig{UserName: user}
	c, err := client.New(who, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// children returns everything that is rendered for a store.
func children(s *api.ReplicatedStore) []runtime.ApplyConfiguration {
	out := render.Shared(s, 0)
	for ordinal := 1; ordinal <= s.Spec.Size(); ordinal++ {
		out = append(out, render.Claim(s, ordinal, render.Volume{}, true), render.Pod(s, ordinal, render.Options{Image: "example/node:v1"}))
	}
	return out
}

func applyAll(ctx context.Context, c client.Client, s *api.ReplicatedStore) {
	GinkgoHelper()
	for _, o := range children(s) {
		Expect(c.Apply(ctx, o, client.FieldOwner(api.FieldOwner), client.ForceOwnership)).To(Succeed())
	}
}

// versions returns the resource versions of everything that was applied.
func versions(ctx context.Context) map[string]string {
	GinkgoHelper()
	out := map[string]string{}
	for _, list := range []client.ObjectList{&corev1.PodList{}, &corev1.PersistentVolumeClaimList{}, &corev1.ServiceList{},
		&corev1.ServiceAccountList{}, &rbacv1.RoleList{}, &rbacv1.RoleBindingList{}, &policyv1.PodDisruptionBudgetList{}} {
		Expect(k8s.List(ctx, list, client.InNamespace(namespace), client.MatchingLabels{api.LabelStore: "orders"})).To(Succeed())
		items, err := listed(list)
		Expect(err).NotTo(HaveOccurred())
		for _, o := range items {
			out[o.GetObjectKind().GroupVersionKind().Kind+"/"+o.GetName()] = o.GetResourceVersion()
		}
	}
	return out
}

var _ = Describe("permissions", func() {
	var (
		operator client.Client
		store    *api.ReplicatedStore
	)

	BeforeEach(func(ctx SpecContext) {
		for _, o := range manifestsOf("rbac") {
			if o.GetKind() == "ClusterRole" || o.GetKind() == "ClusterRoleBinding" {
				Expect(client.IgnoreAlreadyExists(k8s.Create(ctx, o))).To(Succeed())
			}
		}
		restricted := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		_, err := controllerutil.CreateOrPatch(ctx, k8s, restricted, func() error {
			restricted.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
			return nil
		})
		Expect(err).NotTo(HaveOccurred())
		operator = as(server.Account)
		Eventually(func() error { return operator.List(ctx, &api.ReplicatedStoreList{}) }, time.Minute).Should(Succeed(), "a binding takes a moment")
		store = created(ctx, "orders", "resources: {limits: {memory: 1Gi}}\nstorage: {size: 1Gi, retentionPolicy: {whenDeleted: Delete}}")
	})

	It("let the operator apply every child, below the restricted pod security standard, and again without a change", func(ctx SpecContext) {
		applyAll(ctx, operator, store)
		applyAll(ctx, operator, store) // the API server itself rewrites a new claim once
		first := versions(ctx)
		Expect(first).To(HaveLen(14), "3 pods, 3 claims, 4 Services, account, Role, binding, budget: %v", first)
		applyAll(ctx, operator, store)
		Expect(versions(ctx)).To(Equal(first))
	})

	It("let the operator report, answer requests and keep the record", func(ctx SpecContext) {
		seen := &api.ReplicatedStore{}
		Expect(operator.Get(ctx, client.ObjectKeyFromObject(store), seen)).To(Succeed())
		old := seen.DeepCopy()
		seen.Status.Leader = "orders-1"
		Expect(operator.Status().Patch(ctx, seen, client.MergeFrom(old))).To(Succeed())
		Expect(operator.Patch(ctx, seen, client.RawPatch(client.Merge.Type(), []byte(`{"metadata":{"annotations":{"a":null}}}`)))).To(Succeed())

		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: api.LeaseName(store.Name)}}
		Expect(operator.Create(ctx, lease)).To(Succeed())
		lease.Annotations = map[string]string{api.AnnotationRecord: "{}"}
		Expect(operator.Update(ctx, lease)).To(Succeed())
		event := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "orders.1"},
			InvolvedObject: corev1.ObjectReference{Kind: api.Kind, Namespace: namespace, Name: "orders"}}
		Expect(operator.Create(ctx, event)).To(Succeed())
	})

	It("let the operator throw away members, and see all namespaces", func(ctx SpecContext) {
		applyAll(ctx, operator, store)
		name := metav1.ObjectMeta{Namespace: namespace, Name: api.MemberName(store.Name, 3)}
		Expect(operator.Delete(ctx, &corev1.Pod{ObjectMeta: name})).To(Succeed())
		Expect(operator.Delete(ctx, &corev1.PersistentVolumeClaim{ObjectMeta: name})).To(Succeed())
		Expect(operator.List(ctx, &api.ReplicatedStoreList{})).To(Succeed())
		Expect(operator.List(ctx, &corev1.PodList{})).To(Succeed())
		Expect(operator.List(ctx, &corev1.NodeList{})).To(Succeed())
	})

	It("keep the operator from everything else", func(ctx SpecContext) {
		key := metav1.ObjectMeta{Namespace: namespace, Name: "orders-nodes"}
		applyAll(ctx, operator, store)
		forbidden := map[string]error{
			"read Secrets":      operator.List(ctx, &corev1.SecretList{}),
			"delete Services":   operator.Delete(ctx, &corev1.Service{ObjectMeta: key}),
			"delete Roles":      operator.Delete(ctx, &rbacv1.Role{ObjectMeta: key}),
			"delete the store":  operator.Delete(ctx, store),
			"change a spec":     operator.Update(ctx, store.DeepCopy()),
			"make stores":       operator.Create(ctx, manifest("other", storage)),
			"make namespaces":   operator.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other"}}),
			"change its nodes":  operator.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "other"}}),
			"make ClusterRoles": operator.Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "other"}}),
			"grant what it lacks": operator.Create(ctx, &rbacv1.Role{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "other"},
				Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}},
			}),
		}
		for what, err := range forbidden {
			Expect(err).To(Satisfy(apierrors.IsForbidden), what)
		}
	})

	It("let a member hold its store's Lease, and nothing else", func(ctx SpecContext) {
		applyAll(ctx, operator, store)
		own := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: api.LeaseName(store.Name)}}
		other := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "payments"}}
		Expect(operator.Create(ctx, own.DeepCopy())).To(Succeed())
		Expect(operator.Create(ctx, other.DeepCopy())).To(Succeed())

		member := as("system:serviceaccount:" + namespace + ":" + api.NodesName(store.Name))
		renewal := client.RawPatch(client.Merge.Type(), []byte(`{"spec":{"holderIdentity":"orders-1"}}`))
		Eventually(func() error { return member.Get(ctx, client.ObjectKeyFromObject(own), own) }, time.Minute).Should(Succeed(), "a binding takes a moment")
		Expect(member.Patch(ctx, own, renewal)).To(Succeed())

		forbidden := map[string]error{
			"read another Lease":   member.Get(ctx, client.ObjectKeyFromObject(other), &coordinationv1.Lease{}),
			"renew another Lease":  member.Patch(ctx, other.DeepCopy(), renewal),
			"make a Lease":         member.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "new"}}),
			"delete its Lease":     member.Delete(ctx, own.DeepCopy()),
			"replace its Lease":    member.Update(ctx, own.DeepCopy()),
			"read pods":            member.List(ctx, &corev1.PodList{}, client.InNamespace(namespace)),
			"read the store":       member.Get(ctx, client.ObjectKeyFromObject(store), &api.ReplicatedStore{}),
			"read other namespace": member.Get(ctx, client.ObjectKey{Namespace: "default", Name: "orders"}, &coordinationv1.Lease{}),
		}
		for what, err := range forbidden {
			Expect(err).To(Satisfy(apierrors.IsForbidden), what)
		}
	})
})
