package stage

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// mark is the pod annotation by which a Stage recognizes the operators that it installed.
const mark = "replicatedstore-stage"

// mayInstall refuses to take over what a Stage did not install on somebody's cluster: it would reset a release of the same name to
// the chart's values, and any other operator may serve the same stores and owns the same CRD.
func (s *Stage) mayInstall(ctx context.Context, name, namespace string) error {
	deployments, err := s.Kube.AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("see whether the cluster has an operator: %w", err)
	}
	own := false
	for _, d := range deployments.Items {
		if !isOperator(d) {
			continue
		}
		if d.Spec.Template.Annotations[mark] == "" {
			return fmt.Errorf("the cluster of %s has an operator of ReplicatedStore already, which this did not install: deployment %s/%s; it is left alone, "+
				"and nothing is installed beside it: use another cluster", s.Kubeconfig, d.Namespace, d.Name)
		}
		own = own || d.Namespace == namespace && d.Labels["app.kubernetes.io/instance"] == name
	}
	releases, err := s.Kube.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm,name=" + name})
	if err != nil {
		return fmt.Errorf("see whether the cluster has a release %s/%s: %w", namespace, name, err)
	}
	if len(releases.Items) > 0 && !own {
		return fmt.Errorf("the cluster of %s has a release %s/%s already, which this did not install or not to its end; it is left alone: see helm status %s -n %s, "+
			"and uninstall it if it is yours to remove", s.Kubeconfig, namespace, name, name, namespace)
	}
	return nil
}

// isOperator reports whether the chart or config/default made the Deployment, whatever its name.
func isOperator(d appsv1.Deployment) bool {
	return d.Labels["app.kubernetes.io/name"] == release || strings.HasPrefix(d.Labels["helm.sh/chart"], release+"-")
}
