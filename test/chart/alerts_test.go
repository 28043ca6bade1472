package chart_test

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "make the chart's alerts from docs/metrics.md")

const alertsFile = chartDir + "/files/alerts.yaml"

// critical lists the alerts, by what they report, that must wake somebody. The others can wait for the morning.
var critical = []string{"no writes", "no operator acts", "a store is not seen", "acknowledged writes were lost"}

// alert is one rule of a PrometheusRule.
type alert struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

var expression = regexp.MustCompile("^`([^`]+)`(?: for (\\d+) (s|min))?")

// alertsOfThePage returns the rows of the page's table: what, expression (for how long), what to do.
func alertsOfThePage(t *testing.T) (alerts []alert) {
	t.Helper()
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "\n## Alerts to begin with\n")
	if !found {
		t.Fatal("docs/metrics.md has no alerts")
	}
	var told []string
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 || strings.HasPrefix(cells[0], "---") || strings.TrimSpace(cells[0]) == "what" {
			if strings.HasPrefix(line, "| ") && len(cells) != 3 {
				t.Errorf("a row of %d cells: %s", len(cells), line)
			}
			continue
		}
		what, expr := strings.TrimSpace(cells[0]), expression.FindStringSubmatch(strings.TrimSpace(cells[1]))
		if expr == nil {
			t.Errorf("%s: no expression begins %q", what, cells[1])
			continue
		}
		told = append(told, what)
		a := alert{
			Alert: "ReplicatedStore", Expr: expr[1], Labels: map[string]string{"severity": "warning"},
			Annotations: map[string]string{"summary": what, "description": strings.ReplaceAll(strings.TrimSpace(cells[2]), "`", "")},
		}
		for word := range strings.FieldsSeq(what) {
			a.Alert += strings.ToUpper(word[:1]) + word[1:]
		}
		if expr[2] != "" {
			a.For = expr[2] + expr[3][:1]
		}
		if slices.Contains(critical, what) {
			a.Labels["severity"] = "critical"
		}
		alerts = append(alerts, a)
	}
	for _, what := range critical {
		if !slices.Contains(told, what) {
			t.Errorf("the page has no alert %q any more: is there another one that is critical?", what)
		}
	}
	return alerts
}

// TestAlertsAreThoseOfThePage checks that the chart's rule holds exactly the alerts of docs/metrics.md, restricted to the
// release's operator. The flag -update generates it from the page.
func TestAlertsAreThoseOfThePage(t *testing.T) {
	want := alertsOfThePage(t)
	if len(want) < 5 {
		t.Fatalf("%d alerts found on the page", len(want))
	}
	if *update {
		text, err := yaml.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		text = append([]byte("# Made from docs/metrics.md by go test ./test/chart -update. DO NOT EDIT.\n"), text...)
		if err := os.WriteFile(filepath.Clean(alertsFile), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range want {
		want[i].Expr = strings.ReplaceAll(want[i].Expr, "replicatedstore_operator_acts", `replicatedstore_operator_acts{namespace="stores"}`)
	}
	rule := find(t, mustRender(t, "monitoring: {alerts: true, labels: {release: prometheus}}"), "PrometheusRule", "-operator")
	if rule.GetLabels()["release"] != "prometheus" {
		t.Errorf("a Prometheus that selects by labels does not find it: %v", rule.GetLabels())
	}
	groups, _, err := unstructured.NestedSlice(rule.Object, "spec", "groups")
	if err != nil || len(groups) != 1 {
		t.Fatalf("%v, %v", groups, err)
	}
	text, err := yaml.Marshal(groups[0].(map[string]any)["rules"])
	if err != nil {
		t.Fatal(err)
	}
	var got []alert
	if err := yaml.UnmarshalStrict(text, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the chart has\n%+v\nand docs/metrics.md\n%+v\nrun go test ./test/chart -run TestAlerts -update", got, want)
	}
}

// TestAlertsAskForMetricsOfThePage checks that alerts use only metrics that are served: others could never fire. (That the page
// lists what is served is tested where it is served.)
func TestAlertsAskForMetricsOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	tables, _, _ := strings.Cut(string(page), "\n## Alerts to begin with\n")
	for _, a := range alertsOfThePage(t) {
		names := regexp.MustCompile(`\b(?:rstore|replicatedstore)_[a-z_]+`).FindAllString(a.Expr, -1)
		for _, name := range names {
			if !strings.Contains(tables, "`"+strings.TrimSuffix(name, "_bucket")+"`") {
				t.Errorf("%s: the page does not tell of %s", a.Alert, name)
			}
		}
		if len(names) == 0 {
			t.Errorf("%s asks for no metric of the product: %s", a.Alert, a.Expr)
		}
	}
}

// TestReleasesWatchTheirOwn checks that the operator of another release does not hide that one's own is gone, and that members are
// scraped by the release that looks after them.
func TestReleasesWatchTheirOwn(t *testing.T) {
	for namespace, watched := range map[string]string{"team-a": "shop", "team-b": "bank"} {
		out, problems, err := helm(t, "template", "operator", chartDir, "--namespace", namespace, "--kube-version", "1.37.0",
			"--set", "watchNamespaces={"+watched+"},monitoring.members=true,monitoring.alerts=true")
		if err != nil {
			t.Fatalf("%v: %s", err, problems)
		}
		objects := documents(t, out)
		rule, err := yaml.Marshal(find(t, objects, "PrometheusRule", "-operator").Object)
		if err != nil {
			t.Fatal(err)
		}
		if want := `absent(replicatedstore_operator_acts{namespace="` + namespace + `"} == 1)`; strings.Count(string(rule), want) != 1 {
			t.Errorf("no alert of the release in %s asks for %s:\n%s", namespace, want, rule)
		}
		from, _, err := unstructured.NestedMap(find(t, objects, "PodMonitor", "-members").Object, "spec", "namespaceSelector")
		if want := map[string]any{"matchNames": []any{watched}}; err != nil || !reflect.DeepEqual(from, want) {
			t.Errorf("the release in %s scrapes members of %v, want %v: %v", namespace, from, want, err)
		}
	}
	from, _, err := unstructured.NestedMap(find(t, mustRender(t, "monitoring: {members: true}"), "PodMonitor", "-members").Object, "spec", "namespaceSelector")
	if want := map[string]any{"any": true}; err != nil || !reflect.DeepEqual(from, want) {
		t.Errorf("a release that looks after every namespace scrapes members of %v: %v", from, err)
	}
}
