package controllers

import (
	"context"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
)

// isOverQuota reports whether the API server refused a pod because a quota has no room for it.
func isOverQuota(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota")
}

// roomFor reports whether a quota that refused a member's next pod has room for it once the present pod is gone. If that
// cannot be determined, it returns true.
func (p *pass) roomFor(ctx context.Context, member string, refusal error) bool {
	if !isOverQuota(refusal) {
		return true
	}
	pod := &corev1.Pod{}
	if err := p.Reader.Get(ctx, types.NamespacedName{Namespace: p.store.Namespace, Name: member}, pod); err != nil {
		return true
	}
	for name, over := range overQuota(reasonOf(refusal)) {
		if frees, ok := freed(pod, name); ok && frees.Cmp(over) < 0 {
			return false
		}
	}
	return true
}

// quotaWords matches the message with which a quota refuses.
var quotaWords = regexp.MustCompile(`exceeded quota: .*, requested: (\S+), used: (\S+), limited: (\S+)`)

// overQuota parses by how much a quota would be exceeded: for each resource, what is used plus what is requested, minus the
// limit.
func overQuota(words string) map[corev1.ResourceName]resource.Quantity {
	parts := quotaWords.FindStringSubmatch(words)
	if parts == nil {
		return nil
	}
	requested, used, limited := amounts(parts[1]), amounts(parts[2]), amounts(parts[3])
	over := map[corev1.ResourceName]resource.Quantity{}
	for name, sum := range requested {
		u, isUsed := used[name]
		l, isLimited := limited[name]
		if isUsed && isLimited {
			sum.Add(u)
			sum.Sub(l)
			over[name] = sum
		}
	}
	return over
}

// amounts parses a list like pods=1,requests.cpu=500m. Items that cannot be parsed are left out.
func amounts(list string) map[corev1.ResourceName]resource.Quantity {
	out := map[corev1.ResourceName]resource.Quantity{}
	for item := range strings.SplitSeq(list, ",") {
		name, amount, _ := strings.Cut(item, "=")
		if q, err := resource.ParseQuantity(amount); err == nil {
			out[corev1.ResourceName(name)] = q
		}
	}
	return out
}

// freed returns how much of a quota's resource the pod frees; false if that is unknown.
func freed(pod *corev1.Pod, name corev1.ResourceName) (resource.Quantity, bool) {
	if name == corev1.ResourcePods || name == "count/pods" {
		return *resource.NewQuantity(1, resource.DecimalSI), true
	}
	kind, of, dotted := strings.Cut(string(name), ".")
	switch {
	case dotted && kind == "limits":
		return has(pod, corev1.ResourceName(of), func(r corev1.ResourceRequirements) corev1.ResourceList { return r.Limits }), true
	case dotted && kind == "requests":
		name = corev1.ResourceName(of)
	case name != corev1.ResourceCPU && name != corev1.ResourceMemory && name != corev1.ResourceEphemeralStorage:
		return resource.Quantity{}, false
	}
	return has(pod, name, func(r corev1.ResourceRequirements) corev1.ResourceList { return r.Requests }), true
}

// has returns how much of a resource a pod has: the sum over its containers or, if larger, the most that one init container
// has.
func has(pod *corev1.Pod, name corev1.ResourceName, of func(corev1.ResourceRequirements) corev1.ResourceList) resource.Quantity {
	var sum, first resource.Quantity
	for _, c := range pod.Spec.InitContainers {
		switch q := of(c.Resources)[name]; {
		case c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways:
			sum.Add(q) // a sidecar stays beside the others
		case q.Cmp(first) > 0:
			first = q
		}
	}
	for _, c := range pod.Spec.Containers {
		sum.Add(of(c.Resources)[name])
	}
	if first.Cmp(sum) > 0 {
		sum = first
	}
	sum.Add(pod.Spec.Overhead[name])
	return sum
}
