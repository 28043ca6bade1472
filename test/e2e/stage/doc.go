// Package stage is what the demo and the end-to-end tests share: a cluster with the operator on it, stores in it, faults,
// and a ledger writer where the store's clients are.
//
// On the project's own cluster (hack/cluster) the writer runs in the machine "client" and machines can be broken. On
// another cluster, named by KUBECONFIG, the writer runs here and reaches pods through the API server, and machines are left
// alone.
package stage
