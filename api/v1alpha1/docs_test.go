package v1alpha1_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// foreign lists the fields whose types belong to Kubernetes, which documents them.
var foreign = []string{"affinity", "tolerations", "topologySpreadConstraints", "resources", "imagePullSecrets", "conditions"}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestDocsNameEveryField checks that docs/api.md names, and the schema describes, every field that users can write or read.
func TestDocsNameEveryField(t *testing.T) {
	docs := readFile(t, "../../docs/api.md")
	root := schema(t)
	fields := 0
	var walk func(path string, s apiextensionsv1.JSONSchemaProps)
	walk = func(path string, s apiextensionsv1.JSONSchemaProps) {
		if s.Items != nil {
			walk(path+"[]", *s.Items.Schema)
		}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			fields++
			named := len(s.Properties[name].Properties) > 0 && !slices.Contains(foreign, name) // documented by its fields
			if !named && !strings.Contains(docs, "`"+name+"`") && !strings.Contains(docs, "."+name+"`") {
				t.Errorf("docs/api.md does not name %s.%s", path, name)
			}
			if s.Properties[name].Description == "" {
				t.Errorf("%s.%s has no description: kubectl explain would be silent", path, name)
			}
			if !slices.Contains(foreign, name) {
				walk(path+"."+name, s.Properties[name])
			}
		}
	}
	for _, part := range []string{"spec", "status"} {
		walk(part, root.Properties[part])
	}
	if fields < 50 {
		t.Fatalf("walked %d fields: the schema is not where it was", fields)
	}
}

// TestDocsNameEveryReason checks that docs/api.md explains every condition type and reason.
func TestDocsNameEveryReason(t *testing.T) {
	docs := readFile(t, "../../docs/api.md")
	names := stringsOf(t, "conditions.go")
	for _, name := range names {
		if !strings.Contains(docs, "`"+name+"`") {
			t.Errorf("docs/api.md does not explain %s", name)
		}
	}
	if len(names) < 40 {
		t.Fatalf("found %d names in conditions.go: they are not where they were", len(names))
	}
}
