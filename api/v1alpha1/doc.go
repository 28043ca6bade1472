// Package v1alpha1 defines the API of ReplicatedStore: what users write and read. Defaults and validation rules live in the
// schema (OpenAPI and CEL), so the API server enforces them without a webhook. test/apiserver exercises each rule, accepting
// and refusing.
//
// +kubebuilder:object:generate=true
// +groupName=replicatedstore.io
package v1alpha1
