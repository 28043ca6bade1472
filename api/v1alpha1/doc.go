// Package v1alpha1 is the API of ReplicatedStore: what users write and read. Defaults and rules live in the schema (OpenAPI
// and CEL), so that the API server enforces them without a webhook; test/apiserver shows each one accepting and refusing.
//
// +kubebuilder:object:generate=true
// +groupName=replicatedstore.io
package v1alpha1
