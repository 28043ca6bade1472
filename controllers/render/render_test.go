package render_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/render"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

var options = render.Options{Image: "registry.example/replicatedstore/node:v1.2.3"}

type change func(*api.ReplicatedStoreSpec)

func store(name string, changes ...change) *api.ReplicatedStore {
	s := &api.ReplicatedStore{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", UID: "0b9d61c7-6cbf-4f41-9e9c-1d6d4b0f7a11"}}
	s.Spec.Storage.Size = resource.MustParse("10Gi")
	s.Spec.Storage.RetentionPolicy = api.RetentionPolicy{WhenDeleted: api.RetainClaim, WhenScaled: api.RetainClaim}
	for _, c := range changes {
		c(&s.Spec)
	}
	return s
}

func sized(replicas, synchronous int32) change {
	return func(s *api.ReplicatedStoreSpec) {
		s.Replicas = ptr.To(replicas)
		s.Replication.Synchronous.Number = ptr.To(synchronous)
	}
}

func withMemoryLimit(limit string) change {
	return func(s *api.ReplicatedStoreSpec) {
		s.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(limit)}
	}
}

func withPassword(name, key string) change {
	return func(s *api.ReplicatedStoreSpec) { s.Auth.PasswordSecret = &api.SecretKey{Name: name, Key: key} }
}

// tuned sets everything that is optional.
func tuned(s *api.ReplicatedStoreSpec) {
	s.Storage.StorageClassName = ptr.To("fast")
	s.Storage.RetentionPolicy.WhenDeleted = api.DeleteClaim
	s.Image = "registry.example/mirror/node@sha256:" + strings.Repeat("ab", 32)
	s.ImagePullPolicy = corev1.PullIfNotPresent
	s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "mirror"}}
	s.Resources = corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("1Gi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")},
	}
	s.Node = api.NodeSpec{
		MaxClients:   ptr.To[int32](5000),
		MaxValueSize: ptr.To(resource.MustParse("16Mi")),
		Memory:       ptr.To(resource.MustParse("1536Mi")),
		LogRetention: ptr.To(resource.MustParse("4Gi")),
		SeedRate:     ptr.To(resource.MustParse("100Mi")),
	}
	s.Scheduling = api.SchedulingSpec{
		NodeSelector: map[string]string{"disk": "nvme"},
		Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "pool", Operator: corev1.NodeSelectorOpIn, Values: []string{"data"}}},
			}}},
		}},
		Tolerations: []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpEqual, Value: "data", Effect: corev1.TaintEffectNoSchedule}},
		TopologySpreadConstraints: []corev1.TopologySpreadConstraint{
			{MaxSkew: 1, TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.DoNotSchedule},
			{MaxSkew: 2, TopologyKey: "rack", WhenUnsatisfiable: corev1.ScheduleAnyway,
				LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "payments"}}},
		},
		PriorityClassName:             "data",
		TerminationGracePeriodSeconds: ptr.To[int64](120),
	}
	s.PodMetadata = api.ChildMetadata{
		Labels:      map[string]api.LabelValue{"team": "payments"},
		Annotations: map[string]string{"example.org/backup": "nightly"},
	}
	s.Services = api.ServicesSpec{Annotations: map[string]string{"example.org/dns": "orders.example.org"}}
}

// objects returns all children of a store, given what its existing claims request.
func objects(s *api.ReplicatedStore, have resource.Quantity) []runtime.ApplyConfiguration {
	out := render.Shared(s, 0)
	for ordinal := 1; ordinal <= s.Spec.Size(); ordinal++ {
		out = append(out, render.Claim(s, ordinal, render.Volume{Size: have, Class: s.Spec.Storage.StorageClassName}, true), render.Pod(s, ordinal, options))
	}
	return out
}

func TestGolden(t *testing.T) {
	cases := map[string]*api.ReplicatedStore{
		"default":            store("orders"),
		"single":             store("cache", sized(1, 0)),
		"small-volume":       store("small", sized(1, 0), func(s *api.ReplicatedStoreSpec) { s.Storage.Size = resource.MustParse("1Gi") }),
		"memory-limit":       store("limited", sized(1, 0), withMemoryLimit("1Gi")),
		"everything-is-set":  store("orders", sized(1, 0), tuned, withPassword("orders-auth", "password")),
		"longest-name":       store(strings.Repeat("n", api.MaxNameLength), sized(1, 0)),
		"two-asynchronously": store("metrics", sized(2, 0)),
	}
	for name, s := range cases {
		t.Run(name, func(t *testing.T) {
			golden(t, name, objects(s, resource.Quantity{}))
		})
	}
}

func golden(t *testing.T, name string, objects []runtime.ApplyConfiguration) {
	t.Helper()
	var got bytes.Buffer
	for _, o := range objects {
		data, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "---\n%s", data)
	}
	path := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update, and read it before committing)", err)
	}
	if !bytes.Equal(want, got.Bytes()) {
		t.Errorf("%s differs (rewrite with -update and read the diff):\n%s", path, firstDifference(want, got.Bytes()))
	}
}

func firstDifference(want, got []byte) string {
	w, g := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\n  want %s\n  got  %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("want %d lines, got %d", len(w), len(g))
}

// TestClaimsArePartOfNobodysInstance checks that, whatever happens to a claim with its store, nothing that deletes by the
// instance label finds it.
func TestClaimsArePartOfNobodysInstance(t *testing.T) {
	for name, s := range map[string]*api.ReplicatedStore{"kept": store("orders"), "deleted with the store": store("orders", sized(1, 0), tuned)} {
		labels := render.Claim(s, 1, render.Volume{}, true).Labels
		if instance, there := labels[api.LabelAppInstance]; there {
			t.Errorf("a claim that is %s has %s: %s, by which an Argo CD Application of that name prunes it", name, api.LabelAppInstance, instance)
		}
		if labels[api.LabelStore] != "orders" || labels[api.LabelMember] != "orders-1" || labels[api.LabelAppName] != api.AppName {
			t.Errorf("a claim that is %s is not found by the operator: %v", name, labels)
		}
	}
}

// TestSelectors checks that what selects members selects pods as they are rendered, and only those of this store.
func TestSelectors(t *testing.T) {
	s, other := store("orders"), store("orders-1")
	pod, foreign := render.Pod(s, 1, options).Labels, render.Pod(other, 1, options).Labels
	leading := maps.Clone(pod)
	leading[api.LabelRole] = api.RoleLabelLeader

	selectors := map[string]map[string]string{"budget": render.DisruptionBudget(s, 0).Spec.Selector.MatchLabels}
	for _, svc := range render.Services(s) {
		if *svc.Name != "orders-rw" || svc.Spec.Selector != nil {
			selectors[*svc.Name] = svc.Spec.Selector
		}
	}
	want := map[string][2]bool{ // selects a member without a role, selects the leader
		"budget": {true, true}, "orders-nodes": {true, true}, "orders-r": {true, true}, "orders-ro": {false, false},
	}
	if got, want := slices.Sorted(maps.Keys(selectors)), slices.Sorted(maps.Keys(want)); !slices.Equal(got, want) {
		t.Fatalf("selectors are of %v, want %v", got, want)
	}
	for name, selector := range selectors {
		match := labels.SelectorFromSet(selector).Matches
		if got := [2]bool{match(labels.Set(pod)), match(labels.Set(leading))}; got != want[name] {
			t.Errorf("%s selects {any member, the leader} = %v, want %v", name, got, want[name])
		}
		if match(labels.Set(foreign)) {
			t.Errorf("%s selects a member of another store", name)
		}
	}
}

// TestNamesFit checks that the longest store name still gives valid names and label values for every child, with room for a
// two-digit ordinal.
func TestNamesFit(t *testing.T) {
	s := store(strings.Repeat("n", api.MaxNameLength))
	pod := render.Pod(s, 99, options)
	names := []string{*pod.Name, *pod.Spec.Hostname, *pod.Spec.Subdomain, *pod.Spec.ServiceAccountName,
		api.LeaseName(s.Name), *render.DisruptionBudget(s, 0).Name}
	for _, svc := range render.Services(s) {
		names = append(names, *svc.Name)
	}
	for _, name := range names {
		if problems := validation.IsDNS1035Label(name); len(problems) > 0 {
			t.Errorf("%q: %v", name, problems)
		}
	}
	for key, value := range pod.Labels {
		if problems := validation.IsValidLabelValue(value); len(problems) > 0 {
			t.Errorf("label %s=%q: %v", key, value, problems)
		}
	}
}

// TestClaimNeverShrinks: a claim that was left behind may be larger than the spec says.
func TestClaimNeverShrinks(t *testing.T) {
	for have, want := range map[string]string{"0": "10Gi", "5Gi": "10Gi", "10Gi": "10Gi", "20Gi": "20Gi"} {
		claim := render.Claim(store("orders"), 1, render.Volume{Size: resource.MustParse(have)}, true)
		got := (*claim.Spec.Resources.Requests)[corev1.ResourceStorage]
		if got.Cmp(resource.MustParse(want)) != 0 {
			t.Errorf("a claim of %s asks for %s, want %s", have, got.String(), want)
		}
	}
}

// TestClaimKeepsItsClass: a claim that was left behind may have another class than the spec, and the class of a claim cannot
// be changed.
func TestClaimKeepsItsClass(t *testing.T) {
	for name, tc := range map[string]struct{ have, spec, want *string }{
		"another": {new("slow"), new("fast"), new("slow")},
		"one":     {new("slow"), nil, new("slow")},
		"none":    {nil, new("fast"), nil},
	} {
		s := store("orders")
		s.Spec.Storage.StorageClassName = tc.spec
		got := render.Claim(s, 1, render.Volume{Size: resource.MustParse("1Gi"), Class: tc.have}, true).Spec.StorageClassName
		if (got == nil) != (tc.want == nil) || got != nil && *got != *tc.want {
			t.Errorf("%s: %v", name, got)
		}
		if made := render.Claim(s, 1, render.Volume{}, true).Spec.StorageClassName; (made == nil) != (tc.spec == nil) {
			t.Errorf("%s: a new one: %v", name, made)
		}
	}
}

// TestOperatorsLabelsWin checks that what a user adds cannot replace what the operator needs.
func TestOperatorsLabelsWin(t *testing.T) {
	s := store("orders", func(s *api.ReplicatedStoreSpec) {
		s.PodMetadata.Labels = map[string]api.LabelValue{api.LabelStore: "other"}
		s.PodMetadata.Annotations = map[string]string{api.AnnotationSpecHash: "0"}
	})
	pod := render.Pod(s, 1, options)
	if got := pod.Labels[api.LabelStore]; got != "orders" {
		t.Errorf("label %s = %q", api.LabelStore, got)
	}
	if got, want := pod.Annotations[api.AnnotationSpecHash], render.SpecHash(s); got != want {
		t.Errorf("annotation %s = %q, want %q", api.AnnotationSpecHash, got, want)
	}
}

// TestSpecIsNotShared checks that rendering twice, and modifying the result, leaves the spec and the next rendering
// unchanged.
func TestSpecIsNotShared(t *testing.T) {
	s := store("orders", tuned)
	before := s.DeepCopy()
	pod := render.Pod(s, 1, options)
	pod.Labels["x"], pod.Annotations["x"], pod.Spec.NodeSelector["x"] = "y", "y", "y"
	(*pod.Spec.Containers[0].Resources.Limits)["x"] = resource.MustParse("1")
	if a, b := mustYAML(t, before), mustYAML(t, s); a != b {
		t.Errorf("the store changed:\n%s", firstDifference([]byte(a), []byte(b)))
	}
}

func mustYAML(t *testing.T, v any) string {
	t.Helper()
	data, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestBudgetNeedsNobodysScale: a budget stated as maxUnavailable makes Kubernetes look up the store's scale; if that failed
// once, no eviction is granted until pods change.
func TestBudgetNeedsNobodysScale(t *testing.T) {
	for size, stay := range map[int32]int32{1: 0, 2: 1, 3: 2, 9: 8} {
		spec := render.DisruptionBudget(store("orders", sized(size, 0)), 0).Spec
		if spec.MaxUnavailable != nil || spec.MinAvailable == nil || spec.MinAvailable.IntVal != stay {
			t.Errorf("of %d members %v must stay and %v may be missing; want %d to stay", size, spec.MinAvailable, spec.MaxUnavailable, stay)
		}
	}
}

// TestBudgetWhileMembersAreScaledAway checks that one of the existing members may be evicted at a time, however few the spec
// asks for.
func TestBudgetWhileMembersAreScaledAway(t *testing.T) {
	for pods, stay := range map[int]int32{0: 2, 2: 2, 3: 2, 4: 3, 9: 8} {
		if got := render.DisruptionBudget(store("orders", sized(3, 0)), pods).Spec.MinAvailable.IntVal; got != stay {
			t.Errorf("of %d pods %d must stay, want %d", pods, got, stay)
		}
	}
}
