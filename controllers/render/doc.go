// Package render turns a store's spec into server-side-apply configurations of its child objects. Every function is pure:
// the same store and options give the same objects, and what is not in them is not the operator's to own.
//
// Two children are missing on purpose: the Lease, whose annotations are the authority record, and the role label of pods,
// which follows what a member says of itself. Both belong to the controllers, under a field owner of their own.
package render

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// Options are what the operator's installation adds to every store.
type Options struct {
	// Image of the data node for stores that name none.
	Image string
}

// Accounts are the children that a member's pod refers to, and what it may do by them.
func Accounts(s *api.ReplicatedStore) []runtime.ApplyConfiguration {
	return []runtime.ApplyConfiguration{ServiceAccount(s), Role(s), RoleBinding(s)}
}

// Shared are the children that the whole store has once, in the order in which they should be applied: all but the pods
// and their claims. There are so many pods of members at present.
func Shared(s *api.ReplicatedStore, pods int) []runtime.ApplyConfiguration {
	out := Accounts(s)
	for _, svc := range Services(s) {
		out = append(out, svc)
	}
	return append(out, DisruptionBudget(s, pods))
}

// owner makes a child die with its store.
func owner(s *api.ReplicatedStore) *metav1ac.OwnerReferenceApplyConfiguration {
	return metav1ac.OwnerReference().
		WithAPIVersion(api.GroupVersion.String()).
		WithKind(api.Kind).
		WithName(s.Name).
		WithUID(s.UID).
		WithController(true).
		WithBlockOwnerDeletion(true)
}

// as turns an API value into its apply configuration, which has the same JSON by construction.
func as[T any](in any) *T {
	out := new(T)
	data, err := json.Marshal(in)
	if err == nil {
		err = json.Unmarshal(data, out)
	}
	if err != nil {
		panic(fmt.Sprintf("broken invariant: %T and %T differ in JSON: %v", in, out, err))
	}
	return out
}
