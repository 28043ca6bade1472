package controllers

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// Cached is what the manager's cache keeps of objects that a cluster has many of: of pods and Leases those of stores, and
// of nodes what a decision needs. Everything that shares a name with a child stays whole, so that somebody else's is seen.
func Cached() map[client.Object]cache.ByObject {
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{v1alpha1.LabelAppName: v1alpha1.AppName})}
	return map[client.Object]cache.ByObject{
		&corev1.Pod{}:                ours,
		&coordinationv1.Lease{}:      ours,
		&corev1.Node{}:               {Transform: slimNode},
		&discoveryv1.EndpointSlice{}: {Label: labels.SelectorFromSet(labels.Set{discoveryv1.LabelManagedBy: v1alpha1.AppManagedBy})},
	}
}

// slimNode keeps zone, cordon and readiness of a node, whose status alone may have tens of KiB.
func slimNode(o any) (any, error) {
	n, ok := o.(*corev1.Node)
	if !ok {
		return o, nil
	}
	slim := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name, UID: n.UID, ResourceVersion: n.ResourceVersion}}
	slim.Spec.Unschedulable = n.Spec.Unschedulable
	if zone := n.Labels[corev1.LabelTopologyZone]; zone != "" {
		slim.Labels = map[string]string{corev1.LabelTopologyZone: zone}
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			slim.Status.Conditions = []corev1.NodeCondition{{Type: c.Type, Status: c.Status, Reason: c.Reason, Message: c.Message}}
		}
	}
	return slim, nil
}
