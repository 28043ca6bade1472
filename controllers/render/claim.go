package render

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// Volume is what an existing claim requests; the zero value means that there is no claim.
type Volume struct {
	Size  resource.Quantity
	Class *string
}

// VolumeOf returns what a claim requests.
func VolumeOf(c *corev1.PersistentVolumeClaim) Volume {
	return Volume{Size: c.Spec.Resources.Requests[corev1.ResourceStorage], Class: c.Spec.StorageClassName}
}

// Claim is the volume claim of a member. have is what the member's existing claim requests: a claim that an earlier store of
// this name left behind may be larger than the spec says, and a claim never shrinks, nor does it change its class.
//
// With grow, the claim takes the size in the spec. The claims of members that were scaled away keep theirs, so that nobody
// pays for the larger volume of a member that is not there.
//
// The claim is owned by the store, and so dies with it, only if the retention policy says so. It has no
// app.kubernetes.io/instance label: Argo CD takes that label for the Application that an object is part of, and prunes an
// object that has no owner and is in no manifest; and people who clean up after a release delete by it.
func Claim(s *api.ReplicatedStore, ordinal int, have Volume, grow bool) *corev1ac.PersistentVolumeClaimApplyConfiguration {
	member := api.MemberName(s.Name, ordinal)
	size := s.Spec.Storage.Size
	if have.Size.Cmp(size) > 0 || !grow {
		size = have.Size
	}
	class := s.Spec.Storage.StorageClassName
	if !have.Size.IsZero() {
		class = have.Class
	}
	spec := corev1ac.PersistentVolumeClaimSpec().
		WithAccessModes(corev1.ReadWriteOnce).
		WithVolumeMode(corev1.PersistentVolumeFilesystem).
		WithResources(corev1ac.VolumeResourceRequirements().
			WithRequests(corev1.ResourceList{corev1.ResourceStorage: size}))
	if class != nil {
		spec.WithStorageClassName(*class)
	}
	labels := api.MemberLabels(s.Name, member)
	delete(labels, api.LabelAppInstance)
	claim := corev1ac.PersistentVolumeClaim(member, s.Namespace).
		WithLabels(labels).
		WithSpec(spec)
	if s.Spec.Storage.RetentionPolicy.WhenDeleted == api.DeleteClaim {
		claim.WithOwnerReferences(owner(s))
	}
	return claim
}
