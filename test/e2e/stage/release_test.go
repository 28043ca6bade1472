package stage

import (
	"io"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
)

func deployment(namespace, instance string, labels map[string]string, annotations map[string]string) *appsv1.Deployment {
	labels["app.kubernetes.io/instance"] = instance
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: instance, Labels: labels}}
	d.Spec.Template.Annotations = annotations
	return d
}

// TestNobodysOperatorIsTakenOver: on a cluster that is not the project's own, only what a Stage installed is upgraded, and nothing is
// uninstalled.
func TestNobodysOperatorIsTakenOver(t *testing.T) {
	named := func() map[string]string { return map[string]string{"app.kubernetes.io/name": release} }
	renamed := map[string]string{"app.kubernetes.io/name": "stores", "helm.sh/chart": release + "-0.1.0"}
	marked := map[string]string{mark: "true"}
	helms := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: SystemNamespace, Name: "sh.helm.release.v1.x.v1", Labels: map[string]string{"owner": "helm", "name": release}}}
	for name, tc := range map[string]struct {
		there   []runtime.Object
		refused string
	}{
		"an empty cluster":                  {nil, ""},
		"other deployments":                 {[]runtime.Object{deployment("shop", "web", map[string]string{"app.kubernetes.io/name": "web"}, nil)}, ""},
		"somebody's release of that name":   {[]runtime.Object{deployment(SystemNamespace, release, named(), map[string]string{"build": "1"}), helms}, SystemNamespace + "/" + release},
		"somebody's release of another one": {[]runtime.Object{deployment("team-a", "stores", renamed, nil)}, "team-a/stores"},
		"a release without a deployment":    {[]runtime.Object{helms}, "a release " + SystemNamespace + "/" + release},
		"its own release":                   {[]runtime.Object{deployment(SystemNamespace, release, named(), marked), helms}, ""},
		"its own, and another":              {[]runtime.Object{deployment(SystemNamespace, release, named(), marked), helms, deployment("prod", "stores", named(), nil)}, "prod/stores"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Stage{Kubeconfig: "theirs", Kube: fake.NewClientset(tc.there...), opt: Options{Log: io.Discard}}
			err := s.mayInstall(t.Context(), release, SystemNamespace)
			if (err == nil) != (tc.refused == "") || err != nil && !strings.Contains(err.Error(), tc.refused) {
				t.Errorf("%v, want it refused for %q", err, tc.refused)
			}
			if tc.refused != "" {
				if got := s.Install(t.Context(), "example/replicatedstore:v1", "digest"); got == nil || got.Error() != err.Error() {
					t.Errorf("installed: %v", got)
				}
			}
			if err := s.Uninstall(t.Context(), release, SystemNamespace); err == nil || !strings.Contains(err.Error(), "not the project's own") {
				t.Errorf("uninstalled: %v", err)
			}
		})
	}
}
