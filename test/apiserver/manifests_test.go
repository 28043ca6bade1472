package apiserver_test

import (
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

const configDir = "../../config"

// manifestsOf returns the objects in the YAML files of a directory below config/, except kustomizations.
func manifestsOf(dir string) []*unstructured.Unstructured {
	GinkgoHelper()
	files, err := filepath.Glob(filepath.Join(configDir, dir, "*.yaml"))
	Expect(err).NotTo(HaveOccurred())
	var out []*unstructured.Unstructured
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		data, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		for doc := range strings.SplitSeq("\n"+string(data), "\n---") {
			var fields map[string]any
			Expect(yaml.UnmarshalStrict([]byte(doc), &fields)).To(Succeed(), file)
			if len(fields) > 0 {
				out = append(out, &unstructured.Unstructured{Object: fields})
			}
		}
	}
	Expect(out).NotTo(BeEmpty(), dir)
	return out
}

var _ = DescribeTable("the API server takes the manifests of config/, strictly", func(ctx SpecContext, dir string) {
	for _, o := range manifestsOf(dir) {
		if o.GetNamespace() == "" {
			o.SetNamespace(namespace) // ignored for cluster-scoped objects
		}
		// Decoding and validation happen before the check for existing objects.
		err := client.IgnoreAlreadyExists(k8s.Create(ctx, o, client.DryRunAll, client.FieldValidation("Strict")))
		Expect(err).NotTo(HaveOccurred(), "%s %s", o.GetKind(), o.GetName())
	}
},
	Entry("the namespace", "default"),
	Entry("the operator", "manager"),
	Entry("permissions", "rbac"),
	Entry("samples", "samples"),
)
