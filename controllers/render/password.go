package render

import (
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

const (
	passwordVolume = "password"
	passwordDir    = "/etc/replicatedstore"
	passwordFile   = "password"
)

// withPassword mounts the Secret with the clients' password. The mount is optional: if the Secret is missing, the member
// starts and exits with a message that says so, which ends up in the store's status. Kubelet would retry silently.
func withPassword(pod *corev1ac.PodSpecApplyConfiguration, c *corev1ac.ContainerApplyConfiguration, p *api.SecretKey) {
	if p == nil {
		return
	}
	pod.WithVolumes(corev1ac.Volume().WithName(passwordVolume).WithSecret(corev1ac.SecretVolumeSource().
		WithSecretName(p.Name).
		WithItems(corev1ac.KeyToPath().WithKey(p.Key).WithPath(passwordFile)).
		WithDefaultMode(0o440).
		WithOptional(true)))
	c.WithVolumeMounts(corev1ac.VolumeMount().WithName(passwordVolume).WithMountPath(passwordDir).WithReadOnly(true))
	c.WithArgs("--password-file=" + passwordDir + "/" + passwordFile)
}
