package render

import (
	"cmp"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// args are the flags of the data node; test/apiserver gives them to the node itself.
func args(s *api.ReplicatedStore, member string) []string {
	out := []string{
		"--managed",
		"--store=" + s.Name,
		"--store-uid=" + string(s.UID),
		"--member=" + member,
		"--data=" + dataDir,
		fmt.Sprintf("--listen=:%d", api.PortClient),
		fmt.Sprintf("--peer-listen=:%d", api.PortPeer),
		fmt.Sprintf("--control-listen=:%d", api.PortControl),
		fmt.Sprintf("--leader-listen=:%d", api.PortLeader(s.UID)),
		"--lease=" + s.Namespace + "/" + api.LeaseName(s.Name),
		"--consistency=" + string(cmp.Or(s.Spec.Reads.Consistency, api.ConsistencySession)),
		fmt.Sprintf("--log-retain-bytes=%d", logRetention(s)),
		fmt.Sprintf("--stop-grace=%ds", s.Spec.GracePeriod()),
	}
	n := s.Spec.Node
	if n.MaxClients != nil {
		out = append(out, fmt.Sprintf("--max-clients=%d", *n.MaxClients))
	}
	if v := maxValue(s); v > 0 {
		out = append(out, fmt.Sprintf("--max-value-bytes=%d", v))
	}
	if n.SeedRate != nil {
		out = append(out, fmt.Sprintf("--seed-rate-bytes=%d", n.SeedRate.Value()))
	}
	if m := memory(s); m > 0 {
		out = append(out, fmt.Sprintf("--memory=%d", m))
	}
	return out
}

// logRetention is how much log to keep beyond what is needed, in bytes. The node cannot know how large its volume was
// meant to be, so its own default would fill a small one.
func logRetention(s *api.ReplicatedStore) int64 {
	if r := s.Spec.Node.LogRetention; r != nil {
		return r.Value()
	}
	return min(s.Spec.Storage.Size.Value()/8, 1<<30)
}

// env has what a node of an earlier version, which spec.image may name, is to leave alone: it does not start with a flag that it does not
// know. And it tells the Go runtime where the container's memory ends: a tenth, and leastSpare at least, is left for what that does not count.
func env(s *api.ReplicatedStore) []*corev1ac.EnvVarApplyConfiguration {
	out := []*corev1ac.EnvVarApplyConfiguration{corev1ac.EnvVar().WithName("RSTORE_METRICS_LISTEN").WithValue(fmt.Sprintf(":%d", api.PortMetrics))}
	if limit, ok := s.Spec.Resources.Limits[corev1.ResourceMemory]; ok {
		out = append(out, corev1ac.EnvVar().WithName("GOMEMLIMIT").WithValue(fmt.Sprintf("%d", limit.Value()-max(limit.Value()/10, leastSpare))))
	}
	return out
}

// leastSpare is for the program's own pages, the kernel's buffers, and pages of files that are being written, in bytes.
const leastSpare = 48 << 20

// mostValue is the node's own default, in bytes.
const mostValue = 64 << 20

// maxValue is the longest value, in bytes: as the spec says, or 1/64 of the container's limit, or 0 to leave it to the node. A value that
// is written is in memory some ten times until it has reached the tables, and is not the only one. Measured with 1/32 and a limit that is
// enforced: members were killed, 8 connections writing the longest values.
func maxValue(s *api.ReplicatedStore) int64 {
	if v := s.Spec.Node.MaxValueSize; v != nil {
		return v.Value()
	}
	if limit, ok := s.Spec.Resources.Limits[corev1.ResourceMemory]; ok {
		return min(mostValue, limit.Value()/64)
	}
	return 0
}

// memory for caches and write buffers, in bytes: as the spec says, or a quarter of the container's limit, or 0 to leave it to
// the node. The rest is for connections, values under way and the log's tail. Measured on the local cluster with a limit of 256Mi, where 4
// connections write the longest values and 30 read them, memory in use at most: 219 MiB in six rounds; with a third instead, members were
// killed in one round of two.
func memory(s *api.ReplicatedStore) int64 {
	if m := s.Spec.Node.Memory; m != nil {
		return m.Value()
	}
	if limit, ok := s.Spec.Resources.Limits[corev1.ResourceMemory]; ok {
		return limit.Value() / 4
	}
	return 0
}
