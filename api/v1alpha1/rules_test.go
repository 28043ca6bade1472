package v1alpha1_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

func schema(t *testing.T) apiextensionsv1.JSONSchemaProps {
	t.Helper()
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict([]byte(readFile(t, "../../config/crd/bases/replicatedstore.io_replicatedstores.yaml")), &crd); err != nil {
		t.Fatal(err)
	}
	return *crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// stringsOf returns the string literals in a Go file.
func stringsOf(t *testing.T, path string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(file, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			s, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, s)
		}
		return true
	})
	return out
}

// TestEveryRuleIsTried checks that the tests against an API server expect the refusal of each CEL rule, by its message.
func TestEveryRuleIsTried(t *testing.T) {
	asked := stringsOf(t, "../../test/apiserver/rules_test.go")
	rules := 0
	var walk func(path string, s apiextensionsv1.JSONSchemaProps)
	walk = func(path string, s apiextensionsv1.JSONSchemaProps) {
		for _, rule := range s.XValidations {
			rules++
			if !slices.ContainsFunc(asked, func(s string) bool { return len(s) > 20 && strings.Contains(rule.Message, s) }) {
				t.Errorf("%s: no test asks for the refusal %q", path, rule.Message)
			}
		}
		for name, property := range s.Properties {
			walk(path+"."+name, property)
		}
		if values := s.AdditionalProperties; values != nil && values.Schema != nil {
			walk(path+"[]", *values.Schema)
		}
	}
	walk("", schema(t))
	if rules < 15 {
		t.Fatalf("found %d rules: they are not where they were", rules)
	}
}

// TestBoundsAgree checks that the constants for names and sizes agree with the schema.
func TestBoundsAgree(t *testing.T) {
	root := schema(t)
	replicas := root.Properties["spec"].Properties["replicas"]
	if got := *replicas.Maximum; got != api.MaxReplicas {
		t.Errorf("MaxReplicas is %d, the schema says %v", api.MaxReplicas, got)
	}
	want := "size() <= " + strconv.Itoa(api.MaxNameLength)
	if !slices.ContainsFunc(root.XValidations, func(r apiextensionsv1.ValidationRule) bool { return strings.HasSuffix(r.Rule, want) }) {
		t.Errorf("no rule about names ends in %q, as MaxNameLength says", want)
	}
}

func TestMemberOrdinal(t *testing.T) {
	cases := map[string]struct {
		ordinal int
		ok      bool
	}{
		"orders-1": {1, true}, "orders-9": {9, true}, "orders-12": {12, true},
		"orders-0": {}, "orders-01": {}, "orders--1": {}, "orders-+1": {}, "orders-": {}, "orders": {}, "orders-1a": {}, "payments-1": {},
		"orders-99999999999999999999": {}, "orders-1-1": {},
	}
	for name, want := range cases {
		got, ok := api.MemberOrdinal("orders", name)
		if got != want.ordinal || ok != want.ok {
			t.Errorf("MemberOrdinal(%q) = %d, %v, want %d, %v", name, got, ok, want.ordinal, want.ok)
		}
		if ok && api.MemberName("orders", got) != name {
			t.Errorf("MemberName(%d) = %q, want %q back", got, api.MemberName("orders", got), name)
		}
	}
}
