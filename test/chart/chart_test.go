// Package chart_test renders the Helm chart as users do and checks the result: the values that it accepts and rejects, and that it
// installs the same CRD, permissions and Deployment as config/.
package chart_test

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

const (
	chartDir  = "../../charts/replicatedstore-operator"
	configDir = "../../config"
	keep      = "helm.sh/resource-policy"
)

// helm runs the binary named by the environment. Its absence is a failure, since an unrendered chart is untested.
func helm(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	bin := os.Getenv("HELM")
	if bin == "" {
		t.Fatal("HELM is not set: these tests need the helm binary; run `make chart-lint`, or build it from hack/tools/helm and name it")
	}
	cmd := exec.CommandContext(t.Context(), bin, args...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err = cmd.Run()
	return out.String(), problems.String(), err
}

// rendered renders the chart with values (YAML).
func rendered(t *testing.T, values string) ([]unstructured.Unstructured, string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	out, problems, err := helm(t, "template", "operator", chartDir, "--namespace", "stores", "--kube-version", "1.37.0", "--values", file)
	if err != nil {
		return nil, problems, err
	}
	return documents(t, out), "", nil
}

func mustRender(t *testing.T, values string) []unstructured.Unstructured {
	t.Helper()
	objects, problems, err := rendered(t, values)
	if err != nil {
		t.Fatalf("%v: %s", err, problems)
	}
	return objects
}

func documents(t *testing.T, text string) []unstructured.Unstructured {
	t.Helper()
	var out []unstructured.Unstructured
	for doc := range strings.SplitSeq("\n"+text, "\n---") {
		var fields map[string]any
		if err := yaml.UnmarshalStrict([]byte(doc), &fields); err != nil {
			t.Fatalf("%v in:\n%s", err, doc)
		}
		if len(fields) > 0 {
			out = append(out, unstructured.Unstructured{Object: fields})
		}
	}
	return out
}

func fromFile(t *testing.T, path string) []unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(configDir, path))
	if err != nil {
		t.Fatal(err)
	}
	return documents(t, string(data))
}

// find returns the only object of a kind whose name has the given suffix.
func find(t *testing.T, objects []unstructured.Unstructured, kind, suffix string) unstructured.Unstructured {
	t.Helper()
	var found []unstructured.Unstructured
	for _, o := range objects {
		if o.GetKind() == kind && strings.HasSuffix(o.GetName(), suffix) {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d objects of kind %s whose names end in %q, want 1", len(found), kind, suffix)
	}
	return found[0]
}

// as decodes an object into its Go type, rejecting unknown fields.
func as[T any](t *testing.T, o unstructured.Unstructured) T {
	t.Helper()
	var out T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, &out, true); err != nil {
		t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
	return out
}

func TestLint(t *testing.T) {
	out, problems, err := helm(t, "lint", "--strict", chartDir)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, problems)
	}
}

func TestCRDIsTheGeneratedOne(t *testing.T) {
	got := find(t, mustRender(t, ""), "CustomResourceDefinition", "")
	annotations := got.GetAnnotations()
	if annotations[keep] != "keep" {
		t.Errorf("annotation %s = %q: uninstalling the chart would delete every store", keep, annotations[keep])
	}
	delete(annotations, keep)
	got.SetAnnotations(annotations)
	want := fromFile(t, "crd/bases/replicatedstore.io_replicatedstores.yaml")[0]
	if !reflect.DeepEqual(got.Object, want.Object) {
		t.Error("the chart's CRD differs from config/crd: run make generate")
	}
}

func TestPermissionsAreThoseOfConfig(t *testing.T) {
	objects := mustRender(t, "")
	users := fromFile(t, "rbac/users.yaml")
	pairs := map[string][2]unstructured.Unstructured{
		"operator": {find(t, objects, "ClusterRole", "-operator"), fromFile(t, "rbac/role.yaml")[0]},
		"view":     {find(t, objects, "ClusterRole", "-view"), find(t, users, "ClusterRole", "-view")},
		"edit":     {find(t, objects, "ClusterRole", "-edit"), find(t, users, "ClusterRole", "-edit")},
	}
	for name, pair := range pairs {
		got, want := as[rbacv1.ClusterRole](t, pair[0]), as[rbacv1.ClusterRole](t, pair[1])
		if len(want.Rules) == 0 || !reflect.DeepEqual(got.Rules, want.Rules) {
			t.Errorf("%s: the chart's rules are %v, want those of config/rbac: %v", name, got.Rules, want.Rules)
		}
		for key, value := range want.Labels {
			if strings.HasPrefix(key, "rbac.") && got.Labels[key] != value {
				t.Errorf("%s: label %s is %q, want %q", name, key, got.Labels[key], value)
			}
		}
	}
	binding := as[rbacv1.ClusterRoleBinding](t, find(t, objects, "ClusterRoleBinding", ""))
	account := find(t, objects, "ServiceAccount", "")
	role := pairs["operator"][0]
	want := []rbacv1.Subject{{Kind: "ServiceAccount", Name: account.GetName(), Namespace: "stores"}}
	if binding.RoleRef.Name != role.GetName() || !reflect.DeepEqual(binding.Subjects, want) {
		t.Errorf("binding of %v to %s, want %v to %s", binding.Subjects, binding.RoleRef.Name, want, role.GetName())
	}
}

// TestPermissionsInNamespaces checks that an operator limited to some namespaces has the same permissions, but only in those. It
// sees nodes everywhere, and takes part in the election in its own namespace.
func TestPermissionsInNamespaces(t *testing.T) {
	objects := mustRender(t, "watchNamespaces: [shop, bank]")
	all := as[rbacv1.ClusterRole](t, fromFile(t, "rbac/role.yaml")[0]).Rules
	stores := as[rbacv1.ClusterRole](t, find(t, objects, "ClusterRole", "-operator-stores")).Rules
	nodes := as[rbacv1.ClusterRole](t, find(t, objects, "ClusterRole", "-operator-nodes")).Rules
	if len(nodes) != 1 || !slices.Equal(nodes[0].Resources, []string{"nodes"}) || len(stores)+1 != len(all) {
		t.Errorf("everywhere %v; in each namespace %v", nodes, stores)
	}
	for _, r := range all {
		in := func(rules []rbacv1.PolicyRule) bool {
			return slices.ContainsFunc(rules, func(o rbacv1.PolicyRule) bool { return reflect.DeepEqual(o, r) })
		}
		if in(stores) == in(nodes) {
			t.Errorf("%v: in each namespace %v, everywhere %v", r, in(stores), in(nodes))
		}
	}
	if r := as[rbacv1.ClusterRoleBinding](t, find(t, objects, "ClusterRoleBinding", "")).RoleRef.Name; !strings.HasSuffix(r, "-operator-nodes") {
		t.Errorf("bound everywhere: %s", r)
	}
	account, each, role := find(t, objects, "ServiceAccount", ""), find(t, objects, "ClusterRole", "-operator-stores"), find(t, objects, "Role", "-election")
	bound := map[string]string{}
	for _, o := range objects {
		if o.GetKind() != "RoleBinding" {
			continue
		}
		b := as[rbacv1.RoleBinding](t, o)
		bound[b.Namespace] = b.RoleRef.Kind + " " + b.RoleRef.Name
		if len(b.Subjects) != 1 || b.Subjects[0].Namespace != "stores" || b.Subjects[0].Name != account.GetName() {
			t.Errorf("%s: subjects %v", b.Namespace, b.Subjects)
		}
	}
	want := map[string]string{"shop": "ClusterRole " + each.GetName(), "bank": "ClusterRole " + each.GetName(), "stores": "Role " + role.GetName()}
	if !maps.Equal(bound, want) || role.GetNamespace() != "stores" {
		t.Errorf("bound %v, want %v", bound, want)
	}
}

// TestDeploymentIsThatOfConfig checks that with default values the chart runs the operator as config/manager does.
func TestDeploymentIsThatOfConfig(t *testing.T) {
	got := as[appsv1.Deployment](t, find(t, mustRender(t, ""), "Deployment", ""))
	want := as[appsv1.Deployment](t, fromFile(t, "manager/deployment.yaml")[0])
	if *got.Spec.Replicas != *want.Spec.Replicas {
		t.Errorf("%d replicas, want %d", *got.Spec.Replicas, *want.Spec.Replicas)
	}
	a, b := got.Spec.Template.Spec, want.Spec.Template.Spec
	a.Containers[0].Image, a.ServiceAccountName = b.Containers[0].Image, b.ServiceAccountName
	a.Affinity, b.Affinity = nil, nil // they select by the labels of each installation
	if !reflect.DeepEqual(a, b) {
		t.Errorf("the chart's pod is\n%+v\nwant that of config/manager\n%+v", a, b)
	}
	selected := got.Spec.Selector.MatchLabels
	for key, value := range selected {
		if got.Spec.Template.Labels[key] != value {
			t.Errorf("the Deployment selects %s=%s, and its pods have %q", key, value, got.Spec.Template.Labels[key])
		}
	}
}

// TestMembersAreScrapedOnce checks that members are scraped on the port that takes no orders, and those older than that port on
// the other one.
func TestMembersAreScrapedOnce(t *testing.T) {
	list, _, err := unstructured.NestedSlice(fromFile(t, "monitoring/members.yaml")[0].Object, "spec", "podMetricsEndpoints")
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	first, second := list[0].(map[string]any), list[1].(map[string]any)
	if first["port"] != v1alpha1.PortNameMetrics || first["relabelings"] != nil || second["port"] != v1alpha1.PortNameControl {
		t.Errorf("%v, then %v", first, second)
	}
	present := "__meta_kubernetes_pod_annotationpresent_" + strings.NewReplacer(".", "_", "/", "_", "-", "_").Replace(v1alpha1.AnnotationMetricsPort)
	want := []any{map[string]any{"action": "drop", "sourceLabels": []any{present}, "regex": "true"}}
	if !reflect.DeepEqual(second["relabelings"], want) {
		t.Errorf("%v, want %v", second["relabelings"], want)
	}
}

// TestMonitorsScrapeAsThoseOfConfig checks that the monitors equal those of config, and keep the namespace labels of the
// operator's series.
func TestMonitorsScrapeAsThoseOfConfig(t *testing.T) {
	objects := mustRender(t, "monitoring: {operator: true, members: true}")
	for file, suffix := range map[string]string{"operator": "-operator", "members": "-members"} {
		endpoints := func(o unstructured.Unstructured) []any {
			list, _, err := unstructured.NestedSlice(o.Object, "spec", "podMetricsEndpoints")
			if err != nil || len(list) == 0 {
				t.Fatalf("%s: %v, %v", file, list, err)
			}
			return list
		}
		got, want := endpoints(find(t, objects, "PodMonitor", suffix)), endpoints(fromFile(t, "monitoring/"+file+".yaml")[0])
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the chart's says %v, config's %v", file, got, want)
		}
		if honours := got[0].(map[string]any)["honorLabels"] == true; honours != (file == "operator") {
			t.Errorf("%s: honorLabels %t", file, honours)
		}
	}
}
