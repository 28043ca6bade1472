package render

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// args are the flags of the data node. What the spec leaves open is left out, so that the node's own default holds.
func args(s *api.ReplicatedStore, member string) []string {
	out := []string{
		"--managed",
		"--store=" + s.Name,
		"--member=" + member,
		"--data=" + dataDir,
		fmt.Sprintf("--listen=:%d", api.PortClient),
		fmt.Sprintf("--peer-listen=:%d", api.PortPeer),
		fmt.Sprintf("--control-listen=:%d", api.PortControl),
		"--lease=" + s.Namespace + "/" + api.LeaseName(s.Name),
	}
	n := s.Spec.Node
	if n.MaxClients != nil {
		out = append(out, fmt.Sprintf("--max-clients=%d", *n.MaxClients))
	}
	if n.MaxValueSize != nil {
		out = append(out, fmt.Sprintf("--max-value-bytes=%d", n.MaxValueSize.Value()))
	}
	if n.LogRetention != nil {
		out = append(out, fmt.Sprintf("--log-retain-bytes=%d", n.LogRetention.Value()))
	}
	if m := memory(s); m > 0 {
		out = append(out, fmt.Sprintf("--memory=%d", m))
	}
	return out
}

// env tells the Go runtime where the container's memory ends: a tenth is left for what it does not count.
func env(s *api.ReplicatedStore) []*corev1ac.EnvVarApplyConfiguration {
	limit, ok := s.Spec.Resources.Limits[corev1.ResourceMemory]
	if !ok {
		return nil
	}
	return []*corev1ac.EnvVarApplyConfiguration{
		corev1ac.EnvVar().WithName("GOMEMLIMIT").WithValue(fmt.Sprintf("%d", limit.Value()/10*9)),
	}
}

// memory for caches and write buffers, in bytes: as the spec says, or half of the container's limit, or 0 to leave it to
// the node. The other half is for connections, values under way and the log's tail.
func memory(s *api.ReplicatedStore) int64 {
	if m := s.Spec.Node.Memory; m != nil {
		return m.Value()
	}
	if limit, ok := s.Spec.Resources.Limits[corev1.ResourceMemory]; ok {
		return limit.Value() / 2
	}
	return 0
}
