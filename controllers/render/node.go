package render

import (
	"cmp"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// args returns the flags of the data node; test/apiserver passes them to the real node.
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

// logRetention returns how much log to keep beyond what is needed, in bytes. The node cannot know how large its volume was
// meant to be, so its own default would fill a small one.
func logRetention(s *api.ReplicatedStore) int64 {
	if r := s.Spec.Node.LogRetention; r != nil {
		return r.Value()
	}
	return min(s.Spec.Storage.Size.Value()/8, 1<<30)
}

// env holds the settings that a node of an earlier version, which spec.image may name, should ignore: such a node refuses to
// start with an unknown flag. It also tells the Go runtime where the container's memory ends.
func env(s *api.ReplicatedStore) []*corev1ac.EnvVarApplyConfiguration {
	out := []*corev1ac.EnvVarApplyConfiguration{corev1ac.EnvVar().WithName("RSTORE_METRICS_LISTEN").WithValue(fmt.Sprintf(":%d", api.PortMetrics))}
	if limit, ok := s.Spec.Resources.Limits[corev1.ResourceMemory]; ok {
		runtime, _, _ := api.WithinMemory(limit.Value())
		out = append(out, corev1ac.EnvVar().WithName("GOMEMLIMIT").WithValue(fmt.Sprintf("%d", runtime)))
	}
	return out
}

// mostValue is the node's own default for the longest value, in bytes.
const mostValue = 64 << 20

// maxValue returns the longest value allowed, in bytes: from the spec, or from the container's limit, or 0 to leave it to
// the node.
func maxValue(s *api.ReplicatedStore) int64 {
	if v := s.Spec.Node.MaxValueSize; v != nil {
		return v.Value()
	}
	if limit, ok := s.Spec.Resources.Limits[corev1.ResourceMemory]; ok {
		_, _, value := api.WithinMemory(limit.Value())
		return min(mostValue, value)
	}
	return 0
}

// memory returns the memory for caches and write buffers, in bytes: from the spec, or from the container's limit, or 0 to
// leave it to the node, which knows of a limit that the namespace sets (LimitRange).
func memory(s *api.ReplicatedStore) int64 {
	if m := s.Spec.Node.Memory; m != nil {
		return m.Value()
	}
	if limit, ok := s.Spec.Resources.Limits[corev1.ResourceMemory]; ok {
		_, caches, _ := api.WithinMemory(limit.Value())
		return caches
	}
	return 0
}
