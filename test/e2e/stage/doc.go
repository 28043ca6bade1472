// Package stage is the common ground of the demo and the end-to-end tests: a cluster with the operator on it, stores in it,
// faults, and a ledger writer located where the store's clients are.
//
// On the project's own cluster (hack/cluster) the writer runs in the machine "client", and machines can be broken. On any other
// cluster, named by KUBECONFIG, the writer runs in this process and reaches pods through the API server, and machines are left
// alone.
package stage
