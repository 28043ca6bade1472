package controllers

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// cluster receives what whole passes write: it stores the store and the claims, and forgets the rest.
type cluster struct {
	*objects
	store  *v1alpha1.ReplicatedStore
	refuse func(child, runtime.ApplyConfiguration) error
	made   []string // what was applied, by kind and name
	theirs string   // the name of an object that belongs to somebody else
}

func (c *cluster) Get(ctx context.Context, key client.ObjectKey, into client.Object, o ...client.GetOption) error {
	missing := apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	switch into := into.(type) {
	case *v1alpha1.ReplicatedStore:
		c.store.DeepCopyInto(into)
	case *corev1.PersistentVolumeClaim:
		i := slices.IndexFunc(c.claims, func(p corev1.PersistentVolumeClaim) bool { return p.Name == key.Name })
		if i < 0 {
			return missing
		}
		c.claims[i].DeepCopyInto(into)
	case *metav1.PartialObjectMetadata:
		if into.Kind+"/"+key.Name != c.theirs {
			return missing
		}
	case *corev1.Pod:
		return missing
	default:
		return c.objects.Get(ctx, key, into, o...)
	}
	return nil
}

func (c *cluster) Apply(_ context.Context, ac runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
	of, _, err := identify(ac)
	if err == nil && c.refuse != nil {
		err = c.refuse(of, ac)
	}
	if err == nil {
		c.made = append(c.made, of.key())
	}
	return err
}

func (c *cluster) Status() client.SubResourceWriter { return clusterStatus{c: c} }

type clusterStatus struct {
	client.SubResourceWriter
	c *cluster
}

func (s clusterStatus) Patch(_ context.Context, o client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
	s.c.store.Status = *o.(*v1alpha1.ReplicatedStore).Status.DeepCopy()
	return nil
}

// whole makes whole passes of the scene possible. Its members have claims of 1Gi, as the spec asks for.
func (s *scene) whole() *cluster {
	c := &cluster{objects: s.cache, store: s.store}
	s.store.Generation = 1
	s.store.Spec.Storage.Size = resource.MustParse("1Gi")
	for _, pod := range s.cache.pods {
		claim := corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, UID: "claim-" + pod.UID, Labels: map[string]string{v1alpha1.LabelStore: s.store.Name},
		}}
		claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
		s.cache.claims = append(s.cache.claims, claim)
	}
	s.Client, s.Reader, s.Recorder = c, c, events.NewFakeRecorder(1000)
	s.memories.Store(types.NamespacedName{Namespace: "shop", Name: "orders"}, s.memory)
	return c
}

// lose removes the pods of members.
func (s *scene) lose(names ...string) {
	s.cache.pods = slices.DeleteFunc(slices.Clone(s.cache.pods), func(p corev1.Pod) bool { return slices.Contains(names, p.Name) })
	for _, name := range names {
		delete(s.members.is, name)
	}
}

func (s *scene) pass(t *testing.T) (ctrl.Result, error) {
	t.Helper()
	return s.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "orders"}})
}

func forbidden(c child, why string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: strings.ToLower(c.Kind)}, c.Metadata.Name, errors.New(why))
}

// A volume that may not grow does not keep its member's pod away, even if the pod has to be made anew.
func TestAMemberIsMadeWhoseClaimMayNotGrow(t *testing.T) {
	s := newScene(t)
	c := s.whole()
	asked := 0
	c.refuse = func(of child, ac runtime.ApplyConfiguration) error {
		claim, ok := ac.(*corev1ac.PersistentVolumeClaimApplyConfiguration)
		if !ok {
			return nil
		}
		if size := (*claim.Spec.Resources.Requests)[corev1.ResourceStorage]; size.String() == "1Gi" {
			if claim.UID == nil {
				t.Errorf("%s: if it went meanwhile, it is made with the old size", of.key())
			}
			return nil
		}
		asked++
		return forbidden(of, "only dynamically provisioned pvc can be resized")
	}
	s.store.Spec.Storage.Size = resource.MustParse("2Gi")
	s.lose("orders-3")
	for range 2 {
		c.made = nil
		if _, err := s.pass(t); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(c.made, "PersistentVolumeClaim/orders-3") || !slices.Contains(c.made, "Pod/orders-3") {
			t.Fatalf("made: %v", c.made)
		}
	}
	if why := s.memory.refused["orders-3"].why; asked != 3 || !strings.Contains(why, "dynamically provisioned") {
		t.Errorf("asked %d times, for 3 members; told: %q", asked, why)
	}
}

// What cannot be applied holds up nothing that does not need it, and is retried.
func TestMembersAreMadeWhateverElseCannotBe(t *testing.T) {
	for name, tc := range map[string]struct {
		refuse string
		made   []string
	}{
		"a Service":       {"Service/orders-ro", []string{"Pod/orders-2", "Pod/orders-3"}},
		"a budget":        {"PodDisruptionBudget/orders-nodes", []string{"Pod/orders-2", "Pod/orders-3"}},
		"another member":  {"Pod/orders-2", []string{"Pod/orders-3", "PersistentVolumeClaim/orders-1"}},
		"another's claim": {"PersistentVolumeClaim/orders-2", []string{"Pod/orders-3"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			c := s.whole()
			c.refuse = func(of child, _ runtime.ApplyConfiguration) error {
				if of.key() == tc.refuse {
					return forbidden(of, "a webhook says no")
				}
				return nil
			}
			s.lose("orders-2", "orders-3")
			if _, err := s.pass(t); err == nil || !strings.Contains(err.Error(), "a webhook says no") {
				t.Errorf("the pass ends with %v", err)
			}
			for _, want := range tc.made {
				if !slices.Contains(c.made, want) {
					t.Errorf("%s is not made: %v", want, c.made)
				}
			}
			if tc.refuse == "PersistentVolumeClaim/orders-2" && slices.Contains(c.made, "Pod/orders-2") {
				t.Error("a pod without its claim")
			}
			told := len(s.Recorder.(*events.FakeRecorder).Events)
			if _, err := s.pass(t); err == nil || len(s.Recorder.(*events.FakeRecorder).Events) != told {
				t.Errorf("%v; the same is told again", err)
			}
		})
	}
}

// Status says why a member cannot be made from the next look on, until the member is made.
func TestWhyAMemberCannotBeMadeIsPublished(t *testing.T) {
	s := newScene(t)
	c := s.whole()
	s.lose("orders-3")
	says := func() string {
		s.memory.published = time.Time{} // so that a change of texts is published each time
		_, _ = s.pass(t)
		return meta.FindStatusCondition(c.store.Status.Conditions, v1alpha1.ConditionDegraded).Message
	}
	c.refuse = func(of child, _ runtime.ApplyConfiguration) error {
		if of.key() == "Pod/orders-3" {
			return forbidden(of, "exceeded quota: few")
		}
		return nil
	}
	says()
	if got := says(); !strings.Contains(got, "orders-3 cannot be created: apply Pod/orders-3: pod \"orders-3\" is forbidden: exceeded quota: few") {
		t.Errorf("Degraded: %s", got)
	}
	c.refuse = nil
	clear(s.memory.Attempts)
	says()
	if got := says(); strings.Contains(got, "quota") {
		t.Errorf("Degraded: %s", got)
	}
}

// Nor does an object that belongs to somebody else and that no pod refers to hold up members.
func TestMembersAreMadeWhateverElseIsSomebodyElses(t *testing.T) {
	for _, theirs := range []string{"Service/orders-r", "PodDisruptionBudget/orders-nodes"} {
		s := newScene(t)
		c := s.whole()
		c.theirs = theirs
		s.lose("orders-3")
		if _, err := s.pass(t); !errors.Is(err, errNotOwned) || !slices.Contains(c.made, "Pod/orders-3") {
			t.Errorf("%s: %v; made %v", theirs, err, c.made)
		}
		if told := s.told(); !strings.Contains(told, v1alpha1.ReasonNotOwned) {
			t.Errorf("%s: told %s", theirs, told)
		}
	}
}

// A pod with somebody else's account would have that account's permissions.
func TestNoMemberIsMadeWithTheAccountOfSomebodyElse(t *testing.T) {
	for _, theirs := range []string{"ServiceAccount/orders-nodes", "Role/orders-nodes", "RoleBinding/orders-nodes"} {
		s := newScene(t)
		c := s.whole()
		c.theirs = theirs
		s.lose("orders-3")
		if _, err := s.pass(t); !errors.Is(err, errNotOwned) || slices.Contains(c.made, "Pod/orders-3") {
			t.Errorf("%s: %v; made %v", theirs, err, c.made)
		}
	}
}

// The generation that status reports as observed is one that was applied: whoever waits for it, and then deletes the store,
// relies on that.
func TestTheSpecIsObservedOnceItIsApplied(t *testing.T) {
	s := newScene(t)
	c := s.whole()
	look := func(what string, want int64) {
		t.Helper()
		_, _ = s.pass(t)
		ready := meta.FindStatusCondition(c.store.Status.Conditions, v1alpha1.ConditionReady)
		if got := c.store.Status.ObservedGeneration; got != want || ready == nil || ready.ObservedGeneration != want {
			t.Fatalf("%s: observed %d, Ready %+v, want %d", what, got, ready, want)
		}
	}
	look("applied", 1)
	c.store.Generation, c.store.Annotations = 2, map[string]string{v1alpha1.AnnotationReconcile: v1alpha1.ReconcileDisabled}
	look("paused", 1)
	if p := meta.FindStatusCondition(c.store.Status.Conditions, v1alpha1.ConditionProgressing); !strings.Contains(p.Message, "latest spec") {
		t.Errorf("Progressing: %s", p.Message)
	}
	c.store.Annotations = nil
	c.refuse = func(of child, _ runtime.ApplyConfiguration) error { return forbidden(of, "no") }
	c.store.Spec.Storage.RetentionPolicy.WhenDeleted = v1alpha1.DeleteClaim
	look("refused", 1)
	c.refuse = nil
	look("applied again", 2)
	c.refuse = func(of child, _ runtime.ApplyConfiguration) error { return forbidden(of, "no") }
	clear(s.memory.applied)
	look("applied before", 2)
}

// A route that cannot be written is retried soon: clients wait for it.
func TestARouteThatFailsIsTriedAgainSoon(t *testing.T) {
	s := newScene(t)
	c := s.whole()
	s.cache.route = nil
	c.refuse = func(of child, _ runtime.ApplyConfiguration) error {
		if of.Kind == "EndpointSlice" {
			return forbidden(of, "no")
		}
		return nil
	}
	if r, err := s.pass(t); err != nil || r.RequeueAfter <= 0 || r.RequeueAfter > 500*time.Millisecond {
		t.Errorf("again after %v: %v", r.RequeueAfter, err)
	}
	c.refuse = nil
	if r, err := s.pass(t); err != nil || r.RequeueAfter < time.Second || !slices.Contains(c.made, "EndpointSlice/orders-rw-ipv4") {
		t.Errorf("again after %v: %v; made %v", r.RequeueAfter, err, c.made)
	}
}
