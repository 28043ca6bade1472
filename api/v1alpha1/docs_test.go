package v1alpha1_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// foreign are fields whose content is Kubernetes' own, and so documented there.
var foreign = []string{"affinity", "tolerations", "topologySpreadConstraints", "resources", "imagePullSecrets", "conditions"}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestDocsNameEveryField: a field that users can write or read is explained to them.
func TestDocsNameEveryField(t *testing.T) {
	docs := readFile(t, "../../docs/api.md")
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict([]byte(readFile(t, "../../config/crd/bases/replicatedstore.io_replicatedstores.yaml")), &crd); err != nil {
		t.Fatal(err)
	}
	root := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	fields := 0
	var walk func(path string, s apiextensionsv1.JSONSchemaProps)
	walk = func(path string, s apiextensionsv1.JSONSchemaProps) {
		if s.Items != nil {
			walk(path+"[]", *s.Items.Schema)
		}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			fields++
			named := len(s.Properties[name].Properties) > 0 && !slices.Contains(foreign, name) // by its fields
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

// TestDocsNameEveryReason: whatever condition or event somebody meets is explained.
func TestDocsNameEveryReason(t *testing.T) {
	docs := readFile(t, "../../docs/api.md")
	file, err := parser.ParseFile(token.NewFileSet(), "conditions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		literal, ok := n.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		name, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		if !strings.Contains(docs, "`"+name+"`") {
			t.Errorf("docs/api.md does not explain %s", name)
		}
		return true
	})
	if found < 40 {
		t.Fatalf("found %d names in conditions.go: they are not where they were", found)
	}
}
