// Package render turns a store's spec into server-side-apply configurations of its child objects. Every function is pure:
// the same store and options give the same objects. The operator owns only what is in them.
//
// Two things are missing on purpose: the Lease, whose annotation is the authority record, and the role label of pods, which
// follows what a member says about itself. The controllers write both.
package render

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// Options are the settings of the operator's installation that apply to every store.
type Options struct {
	// Image is the data node's image for stores that name none.
	Image string
}

// Accounts returns the children that a member's pod runs under: its ServiceAccount and what that may do.
func Accounts(s *api.ReplicatedStore) []runtime.ApplyConfiguration {
	return []runtime.ApplyConfiguration{ServiceAccount(s), Role(s), RoleBinding(s)}
}

// Shared returns the children that a store has once, in the order in which they should be applied: everything but the pods
// and their claims. pods is how many members have a pod at present.
func Shared(s *api.ReplicatedStore, pods int) []runtime.ApplyConfiguration {
	out := Accounts(s)
	for _, svc := range Services(s) {
		out = append(out, svc)
	}
	return append(out, DisruptionBudget(s, pods))
}

// owner returns the owner reference that makes a child die with its store.
func owner(s *api.ReplicatedStore) *metav1ac.OwnerReferenceApplyConfiguration {
	return metav1ac.OwnerReference().
		WithAPIVersion(api.GroupVersion.String()).
		WithKind(api.Kind).
		WithName(s.Name).
		WithUID(s.UID).
		WithController(true).
		WithBlockOwnerDeletion(true)
}

// as converts an API value to its apply configuration, which has the same JSON by construction.
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
