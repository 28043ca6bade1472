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

// Cached returns what the manager's cache keeps of kinds that a cluster has many of: the Pods and Leases of stores, the
// EndpointSlices that the operator manages, and of Nodes only what a decision needs. All other kinds are cached whole, so that
// somebody else's object with a child's name is noticed.
func Cached() map[client.Object]cache.ByObject {
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{v1alpha1.LabelAppName: v1alpha1.AppName})}
	return map[client.Object]cache.ByObject{
		&corev1.Pod{}:                ours,
		&coordinationv1.Lease{}:      ours,
		&corev1.Node{}:               {Transform: slimNode},
		&discoveryv1.EndpointSlice{}: {Label: labels.SelectorFromSet(labels.Set{discoveryv1.LabelManagedBy: v1alpha1.AppManagedBy})},
	}
}

// slimNode keeps a node's zone, cordon and readiness. The status alone may be tens of KiB.
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
