package chart_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func kinds(objects []unstructured.Unstructured) []string {
	var out []string
	for _, o := range objects {
		out = append(out, o.GetKind())
	}
	slices.Sort(out)
	return out
}

// TestKinds checks that every option adds or leaves out exactly its own objects.
func TestKinds(t *testing.T) {
	all := []string{"ClusterRole", "ClusterRole", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition",
		"Deployment", "PodDisruptionBudget", "ServiceAccount"}
	without := func(kinds ...string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(k string) bool { return slices.Contains(kinds, k) })
	}
	cases := map[string]struct {
		values string
		want   []string
	}{
		"by default":         {"", all},
		"no CRD":             {"crds: {install: false}", without("CustomResourceDefinition")},
		"no budget":          {"podDisruptionBudget: {enabled: false}", without("PodDisruptionBudget")},
		"no service account": {"serviceAccount: {create: false, name: mine}", without("ServiceAccount")},
		"two namespaces": {"watchNamespaces: [shop, bank]", slices.Sorted(slices.Values(append(slices.Clone(all), "ClusterRole", "Role", "RoleBinding",
			"RoleBinding", "RoleBinding")))},
		"no rbac":               {"rbac: {create: false, aggregate: false}", without("ClusterRole", "ClusterRoleBinding")},
		"operator's monitoring": {"monitoring: {operator: true}", slices.Sorted(slices.Values(append(slices.Clone(all), "PodMonitor")))},
		"all monitoring": {"monitoring: {operator: true, members: true, alerts: true, labels: {release: prometheus}}",
			slices.Sorted(slices.Values(append(slices.Clone(all), "PodMonitor", "PodMonitor", "PrometheusRule")))},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := kinds(mustRender(t, c.values)); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestNamesThatAreNumbers: Helm accepts names of digits only, for releases and namespaces, while labels and names must be strings.
func TestNamesThatAreNumbers(t *testing.T) {
	out, problems, err := helm(t, "template", "2024", chartDir, "--namespace", "7", "--kube-version", "1.37.0",
		"--set-string", "watchNamespaces={1,2}", "--set", "monitoring.operator=true,monitoring.members=true,monitoring.alerts=true")
	if err != nil {
		t.Fatalf("%v: %s", err, problems)
	}
	selecting := 0
	for _, o := range documents(t, out) {
		for _, path := range [][]string{
			{"metadata", "labels"}, {"spec", "selector", "matchLabels"}, {"spec", "template", "metadata", "labels"},
		} {
			labels, found, err := unstructured.NestedStringMap(o.Object, path...)
			if err != nil {
				t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
			} else if found && labels["app.kubernetes.io/instance"] == "2024" {
				selecting++
			}
		}
		if ns, _, err := unstructured.NestedString(o.Object, "metadata", "namespace"); err != nil || ns != "" && ns != "7" && ns != "1" && ns != "2" {
			t.Errorf("%s %s: namespace %q: %v", o.GetKind(), o.GetName(), ns, err)
		}
	}
	if selecting < 5 {
		t.Errorf("%d maps of labels name the release", selecting)
	}
}

// TestTwoReleasesShareNothing checks that releases with the same name in two namespaces have no object in common, or the second
// would take the first one's permissions. The exception is the CRD, which one of them installs.
func TestTwoReleasesShareNothing(t *testing.T) {
	made := map[string]bool{}
	for _, r := range []struct{ namespace, values string }{
		{"team-a", "watchNamespaces={shop}"}, {"7", "watchNamespaces={bank},crds.install=false"}, {"team-b", "crds.install=false"},
	} {
		out, problems, err := helm(t, "template", "replicatedstore-operator", chartDir, "--namespace", r.namespace, "--kube-version", "1.37.0", "--set", r.values)
		if err != nil {
			t.Fatalf("%v: %s", err, problems)
		}
		for _, o := range documents(t, out) {
			id := o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
			if name, _, err := unstructured.NestedString(o.Object, "metadata", "name"); err != nil || name == "" || made[id] {
				t.Errorf("%s: %s of the release in %s: is that another release's? %v", name, id, r.namespace, err)
			}
			made[id] = true
		}
	}
}

// TestEverythingSet checks that every value reaches the Deployment, and that users cannot override the chart's labels.
func TestEverythingSet(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0f", 32)
	objects := mustRender(t, `
replicas: 3
image: {repository: mirror.example/operator, tag: v9, pullPolicy: Always}
nodeImage: {repository: mirror.example/node, digest: "`+digest+`"}
imagePullSecrets: [{name: mirror}]
serviceAccount: {name: stores, annotations: {a: b}}
watchNamespaces: [shop, bank]
logLevel: debug
extraArgs: [--metrics-bind-address=:9090]
podLabels: {team: data, app.kubernetes.io/instance: other}
podAnnotations: {note: hello}
resources: {requests: {cpu: 1, memory: 1Gi}, limits: {memory: 1Gi}}
priorityClassName: system-cluster-critical
nodeSelector: {pool: system}
tolerations: [{key: system, operator: Exists}]
affinity: {nodeAffinity: {}}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {}}]
fullnameOverride: rstore
`)
	d := as[appsv1.Deployment](t, find(t, objects, "Deployment", "rstore"))
	pod := d.Spec.Template.Spec
	c := pod.Containers[0]
	checks := map[string]bool{
		"replicas":     *d.Spec.Replicas == 3,
		"image":        c.Image == "mirror.example/operator:v9" && c.ImagePullPolicy == "Always",
		"node image":   slices.Contains(c.Args, "--node-image=mirror.example/node@"+digest),
		"namespaces":   slices.Contains(c.Args, "--watch-namespaces=shop,bank"),
		"log level":    slices.Contains(c.Args, "--zap-log-level=debug"),
		"extra flags":  slices.Contains(c.Args, "--metrics-bind-address=:9090"),
		"pull secrets": len(pod.ImagePullSecrets) == 1 && pod.ImagePullSecrets[0].Name == "mirror",
		"account":      pod.ServiceAccountName == "stores",
		"labels":       d.Spec.Template.Labels["team"] == "data",
		"own labels":   d.Spec.Template.Labels["app.kubernetes.io/instance"] == "operator",
		"annotations":  d.Spec.Template.Annotations["note"] == "hello",
		"resources":    c.Resources.Requests.Cpu().String() == "1",
		"priority":     pod.PriorityClassName == "system-cluster-critical",
		"selector":     pod.NodeSelector["pool"] == "system",
		"tolerations":  len(pod.Tolerations) == 1,
		"affinity":     pod.Affinity.NodeAffinity != nil && pod.Affinity.PodAntiAffinity == nil,
		"spread":       len(pod.TopologySpreadConstraints) == 1,
	}
	for name, ok := range checks {
		if !ok {
			t.Errorf("%s: not as the values say: %+v", name, d.Spec)
		}
	}
	budget := as[policyv1.PodDisruptionBudget](t, find(t, objects, "PodDisruptionBudget", "rstore"))
	for key, value := range budget.Spec.Selector.MatchLabels {
		if d.Spec.Template.Labels[key] != value {
			t.Errorf("the budget selects %s=%s, and the pods have %q", key, value, d.Spec.Template.Labels[key])
		}
	}
}

// TestAsAPartOfAnotherChart checks that a parent chart can enable and disable the chart with a value beside the chart's own, as is
// usual for charts.
func TestAsAPartOfAnotherChart(t *testing.T) {
	whole := t.TempDir()
	if err := os.CopyFS(filepath.Join(whole, "charts", "replicatedstore-operator"), os.DirFS(chartDir)); err != nil {
		t.Fatal(err)
	}
	const about = "apiVersion: v2\nname: whole\nversion: 1.0.0\ndependencies: [{name: replicatedstore-operator, version: '*', condition: replicatedstore-operator.enabled}]\n"
	if err := os.WriteFile(filepath.Join(whole, "Chart.yaml"), []byte(about), 0o600); err != nil {
		t.Fatal(err)
	}
	for enabled, want := range map[string]int{"true": 1, "false": 0} {
		out, problems, err := helm(t, "template", "x", whole, "--kube-version", "1.37.0", "--set", "replicatedstore-operator.replicas=3,replicatedstore-operator.enabled="+enabled)
		if err != nil {
			t.Fatalf("enabled %s: %v: %s", enabled, err, problems)
		}
		if n := strings.Count(out, "kind: Deployment"); n != want {
			t.Errorf("enabled %s: %d Deployments", enabled, n)
		}
	}
}

// TestNodeImage checks that members run the operator's image unless another one is set.
func TestNodeImage(t *testing.T) {
	for values, want := range map[string]string{
		"":                               "localhost/replicatedstore:dev",
		"image: {tag: v2}":               "localhost/replicatedstore:v2",
		"nodeImage: {repository: other}": "other:dev",
		"nodeImage: {tag: v1}":           "localhost/replicatedstore:v1",
		"nodeImage: {repository: other, tag: v1}\nimage: {tag: v2}": "other:v1",
	} {
		d := as[appsv1.Deployment](t, find(t, mustRender(t, values), "Deployment", ""))
		if args := d.Spec.Template.Spec.Containers[0].Args; !slices.Contains(args, "--node-image="+want) {
			t.Errorf("values %q: flags %v, want --node-image=%s", values, args, want)
		}
	}
}

// TestRefusedValues checks that a value that is misspelt or cannot work is rejected by name before anything is installed.
func TestRefusedValues(t *testing.T) {
	cases := map[string]struct{ values, saying string }{
		"unknown key":           {"replicaCount: 2", "replicaCount"},
		"unknown nested key":    {"image: {repo: x}", "repo"},
		"no operator":           {"replicas: 0", "/replicas"},
		"replicas in words":     {"replicas: two", "/replicas"},
		"empty image":           {`image: {repository: ""}`, "/image/repository"},
		"digest in the name":    {"image: {repository: x@sha256:0}", "/image/repository"},
		"node image's name":     {"nodeImage: {repository: x@sha256:0}", "/nodeImage/repository"},
		"digest without digits": {"image: {digest: latest}", "/image/digest"},
		"pull policy":           {"image: {pullPolicy: Sometimes}", "/image/pullPolicy"},
		"CRD switch in words":   {`crds: {install: "yes"}`, "/crds/install"},
		"namespaces in one":     {"watchNamespaces: [\"a,b\"]", "/watchNamespaces/0"},
		"log level":             {"logLevel: loud", "/logLevel"},
		"flag without dashes":   {"extraArgs: [leader-elect=false]", "/extraArgs/0"},
		"memory in words":       {"resources: {limits: {memory: a lot}}", "/resources/limits/memory"},
		"unknown resource":      {"resources: {limits: {disk: 1Gi}}", "disk"},
		"secret without a name": {"imagePullSecrets: [{}]", "/imagePullSecrets/0"},
		"label that is no text": {"podLabels: {a: [b]}", "/podLabels/a"},
		"scrape interval":       {"monitoring: {interval: 15}", "/monitoring/interval"},
		"disabled alone":        {"enabled: false", "/enabled"},
		"name with capitals":    {"fullnameOverride: Operator", "/fullnameOverride"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, problems, err := rendered(t, c.values)
			if err == nil {
				t.Fatalf("%s: rendered, want a refusal", c.values)
			}
			path := strings.TrimPrefix(c.saying, "/")
			dotted := regexp.QuoteMeta(strings.ReplaceAll(path, "/", "."))
			if !strings.Contains(problems, c.saying) && !regexp.MustCompile(dotted).MatchString(problems) {
				t.Errorf("%s: refused without naming %q: %s", c.values, c.saying, problems)
			}
		})
	}
}
