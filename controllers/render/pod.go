package render

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/replicatedstore/replicatedstore/replication/wire"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

const (
	// Container is the name of the data node's container.
	Container = "node"
	// userID runs the data node: "nonroot" in the usual minimal images.
	userID = 65532

	volumeName = "data"
	mountPath  = "/data"
	// dataDir is below the mount point, so that what a file system keeps in its own root (lost+found) is not in the way.
	dataDir = mountPath + "/store"
)

// Pod is a member's pod, without its role label. Its labels and annotations may be applied to a running pod, unless
// AnnotationSpecHash or AnnotationRestart differs: then the pod must be made anew.
func Pod(s *api.ReplicatedStore, ordinal int, o Options) *corev1ac.PodApplyConfiguration {
	member := api.MemberName(s.Name, ordinal)
	return corev1ac.Pod(member, s.Namespace).
		WithLabels(addedLabels(s)).
		WithLabels(api.MemberLabels(s.Name, member)).
		WithAnnotations(s.Spec.PodMetadata.Annotations).
		WithAnnotations(map[string]string{
			api.AnnotationMetricsPort:                 strconv.Itoa(api.PortMetrics),
			api.AnnotationSpecHash:                    SpecHash(s),
			"kubectl.kubernetes.io/default-container": Container,
		}).
		WithAnnotations(restarted(s)).
		WithOwnerReferences(owner(s)).
		WithSpec(podSpec(s, member, o))
}

// addedLabels returns the labels that the spec adds.
func addedLabels(s *api.ReplicatedStore) map[string]string {
	out := map[string]string{}
	for key, value := range s.Spec.PodMetadata.Labels {
		out[key] = string(value)
	}
	return out
}

// restarted returns the annotation that marks a pod as made after the newest request to restart.
func restarted(s *api.ReplicatedStore) map[string]string {
	if at := s.Annotations[api.AnnotationRestart]; at != "" {
		return map[string]string{api.AnnotationRestart: at}
	}
	return nil
}

func podSpec(s *api.ReplicatedStore, member string, o Options) *corev1ac.PodSpecApplyConfiguration {
	spec := corev1ac.PodSpec().
		WithHostname(member).
		WithSubdomain(api.ServiceNodes(s.Name)).
		WithServiceAccountName(api.NodesName(s.Name)).
		WithAutomountServiceAccountToken(true).
		WithEnableServiceLinks(false).
		WithRestartPolicy(corev1.RestartPolicyAlways).
		WithTerminationGracePeriodSeconds(s.Spec.GracePeriod()).
		WithSecurityContext(corev1ac.PodSecurityContext().
			WithRunAsNonRoot(true).
			WithRunAsUser(userID).
			WithRunAsGroup(userID).
			WithFSGroup(userID).
			WithFSGroupChangePolicy(corev1.FSGroupChangeOnRootMismatch).
			WithSeccompProfile(corev1ac.SeccompProfile().WithType(corev1.SeccompProfileTypeRuntimeDefault))).
		WithVolumes(corev1ac.Volume().
			WithName(volumeName).
			WithPersistentVolumeClaim(corev1ac.PersistentVolumeClaimVolumeSource().WithClaimName(member)))
	for _, secret := range s.Spec.ImagePullSecrets {
		spec.WithImagePullSecrets(corev1ac.LocalObjectReference().WithName(secret.Name))
	}
	c := container(s, member, o)
	withPassword(spec, c, s.Spec.Auth.PasswordSecret)
	schedule(spec, s)
	return spec.WithContainers(c)
}

// container is the data node's container. Its termination message comes from its log, so that the operator can repeat in
// status why it ended.
func container(s *api.ReplicatedStore, member string, o Options) *corev1ac.ContainerApplyConfiguration {
	image := s.Spec.Image
	if image == "" {
		image = o.Image
	}
	c := corev1ac.Container().
		WithName(Container).
		WithImage(image).
		WithCommand("/node").
		WithArgs(args(s, member)...).
		WithEnv(env(s)...).
		WithPorts(
			containerPort(api.PortNameClient, api.PortClient),
			containerPort(api.PortNamePeer, api.PortPeer),
			containerPort(api.PortNameControl, api.PortControl),
			containerPort(api.PortNameLeader, api.PortLeader(s.UID)),
			containerPort(api.PortNameMetrics, api.PortMetrics)).
		WithTerminationMessagePolicy(corev1.TerminationMessageFallbackToLogsOnError).
		WithVolumeMounts(corev1ac.VolumeMount().WithName(volumeName).WithMountPath(mountPath)).
		WithSecurityContext(corev1ac.SecurityContext().
			WithAllowPrivilegeEscalation(false).
			WithReadOnlyRootFilesystem(true).
			WithCapabilities(corev1ac.Capabilities().WithDrop("ALL")))
	if s.Spec.ImagePullPolicy != "" {
		c.WithImagePullPolicy(s.Spec.ImagePullPolicy)
	}
	if r := s.Spec.Resources; len(r.Limits)+len(r.Requests) > 0 {
		c.WithResources(as[corev1ac.ResourceRequirementsApplyConfiguration](r))
	}
	return withProbes(c)
}

func containerPort(name string, port int32) *corev1ac.ContainerPortApplyConfiguration {
	return corev1ac.ContainerPort().WithName(name).WithContainerPort(port).WithProtocol(corev1.ProtocolTCP)
}

// withProbes adds probes that ask the node itself. Liveness is patient, because restarting a data node is never cheap and a
// leader with a hung disk loses its Lease long before. Readiness is quick, because the Services follow it. Starting may
// replay a log, so liveness is checked only once /livez has answered for the first time.
func withProbes(c *corev1ac.ContainerApplyConfiguration) *corev1ac.ContainerApplyConfiguration {
	return c.
		WithStartupProbe(probe(wire.PathLive, 1, 2, 600)).
		WithLivenessProbe(probe(wire.PathLive, 10, 5, 6)).
		WithReadinessProbe(probe(wire.PathReady, 1, 1, 2))
}

// probe asks path every period seconds, waits at most timeout seconds, and gives up after that many failures in a row.
func probe(path string, period, timeout, failures int32) *corev1ac.ProbeApplyConfiguration {
	return corev1ac.Probe().
		WithHTTPGet(corev1ac.HTTPGetAction().WithPath(path).WithPort(intstr.FromString(api.PortNameControl))).
		WithPeriodSeconds(period).
		WithTimeoutSeconds(timeout).
		WithFailureThreshold(failures)
}
