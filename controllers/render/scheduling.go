package render

import (
	corev1 "k8s.io/api/core/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// schedule places a pod. The defaults are preferences, not requirements, so that a store runs on a small cluster too. The
// not-ready and unreachable tolerations are left to the cluster's defaults.
func schedule(spec *corev1ac.PodSpecApplyConfiguration, s *api.ReplicatedStore) {
	want := s.Spec.Scheduling
	selector := metav1ac.LabelSelector().WithMatchLabels(api.SelectorLabels(s.Name))
	if len(want.NodeSelector) > 0 {
		spec.WithNodeSelector(want.NodeSelector)
	}
	if want.PriorityClassName != "" {
		spec.WithPriorityClassName(want.PriorityClassName)
	}
	for _, t := range want.Tolerations {
		spec.WithTolerations(as[corev1ac.TolerationApplyConfiguration](t))
	}
	if want.Affinity != nil {
		spec.WithAffinity(as[corev1ac.AffinityApplyConfiguration](want.Affinity))
	} else {
		spec.WithAffinity(apartByHost(selector))
	}
	if len(want.TopologySpreadConstraints) == 0 {
		spec.WithTopologySpreadConstraints(spreadOverZones(selector))
	}
	for _, c := range want.TopologySpreadConstraints {
		constraint := as[corev1ac.TopologySpreadConstraintApplyConfiguration](c)
		if constraint.LabelSelector == nil {
			constraint.WithLabelSelector(selector)
		}
		spec.WithTopologySpreadConstraints(constraint)
	}
}

func apartByHost(selector *metav1ac.LabelSelectorApplyConfiguration) *corev1ac.AffinityApplyConfiguration {
	return corev1ac.Affinity().WithPodAntiAffinity(corev1ac.PodAntiAffinity().
		WithPreferredDuringSchedulingIgnoredDuringExecution(corev1ac.WeightedPodAffinityTerm().
			WithWeight(100).
			WithPodAffinityTerm(corev1ac.PodAffinityTerm().
				WithTopologyKey(corev1.LabelHostname).
				WithLabelSelector(selector))))
}

func spreadOverZones(selector *metav1ac.LabelSelectorApplyConfiguration) *corev1ac.TopologySpreadConstraintApplyConfiguration {
	return corev1ac.TopologySpreadConstraint().
		WithMaxSkew(1).
		WithTopologyKey(corev1.LabelTopologyZone).
		WithWhenUnsatisfiable(corev1.ScheduleAnyway).
		WithLabelSelector(selector)
}
