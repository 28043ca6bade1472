package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion is the group and version of this package.
	GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1alpha1"}
	// SchemeBuilder collects the functions that add this group to a scheme.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)
	// AddToScheme adds the types of this package to a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

// Kind is the kind of the one resource of this group.
const Kind = "ReplicatedStore"

// GroupVersionKind of ReplicatedStore.
func GroupVersionKind() schema.GroupVersionKind { return GroupVersion.WithKind(Kind) }

// Resource turns an unqualified resource name into one of this group.
func Resource(resource string) schema.GroupResource {
	return GroupVersion.WithResource(resource).GroupResource()
}

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &ReplicatedStore{}, &ReplicatedStoreList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
