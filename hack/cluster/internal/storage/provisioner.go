// Package storage provisions directories on the workers' disks as local persistent volumes. It acts as the controller of a storage
// driver: it creates a volume where the scheduler placed the pod, removes it with its claim, and handles requests for more space.
package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const (
	// Name is the name of the provisioner in storage classes.
	Name = "replicatedstore.io/local-directory"
	// NodeDir is the directory in which a worker shows the volumes on its disk.
	NodeDir = "/var/lib/local-volumes"
)

// Directories returns the directory of a worker's volumes on the host's disk.
type Directories func(node string) string

// provisioner implements the controller's interface. A worker's disk outlives the worker, so volumes are created and removed
// whether or not the worker is running.
type provisioner struct{ directories Directories }

var (
	_ controller.Provisioner      = provisioner{}
	_ controller.BlockProvisioner = provisioner{}
)

// Run provisions until ctx ends.
func Run(ctx context.Context, config *rest.Config, directories Directories) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("create client: %w", err)
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	claims := factory.Core().V1().PersistentVolumeClaims()
	volumes := factory.Core().V1().PersistentVolumes()
	resizer, err := newResizer(client, directories, claims, volumes.Lister())
	if err != nil {
		return err
	}
	ctrl := controller.NewProvisionController(ctx, client, Name, provisioner{directories},
		controller.LeaderElection(false),
		controller.ClaimsInformer(claims.Informer()),
		controller.VolumesInformer(volumes.Informer()),
		controller.ClassesInformer(factory.Storage().V1().StorageClasses().Informer()),
	)
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	go ctrl.Run(ctx)
	return resizer.run(ctx)
}

// Provision creates the directory and describes it as a volume that only the chosen node can mount.
func (p provisioner) Provision(ctx context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	if o.SelectedNodeName == "" {
		return nil, controller.ProvisioningFinished, errors.New("provision local volume: no node selected")
	}
	dir := filepath.Join(p.directories(o.SelectedNodeName), o.PVName)
	size := o.PVC.Spec.Resources.Requests[corev1.ResourceStorage]
	var source *corev1.LocalVolumeSource
	var err error
	switch medium := o.StorageClass.Parameters[parameterMedium]; medium {
	case "":
		source, err = makeDirectory(dir, o.PVName)
	case mediumLoop:
		source, err = makeLoop(ctx, dir+imageSuffix, size.Value(), o.StorageClass.Parameters[parameterFileSystem])
	default:
		err = fmt.Errorf("provision local volume: %s %q is none; there is %s", parameterMedium, medium, mediumLoop)
	}
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			VolumeMode:                    o.PVC.Spec.VolumeMode,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: size},
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: source},
			NodeAffinity:                  onlyOn(o.SelectedNodeName),
		},
	}
	return pv, controller.ProvisioningFinished, nil
}

func makeDirectory(dir, name string) (*corev1.LocalVolumeSource, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("create volume directory: %w", err)
	}
	// Any user may write, whether or not the pod names a group for its volumes. The process's umask must not restrict that.
	if err := os.Chmod(dir, 0o777); err != nil {
		return nil, fmt.Errorf("open volume directory: %w", err)
	}
	return &corev1.LocalVolumeSource{Path: filepath.Join(NodeDir, name)}, nil
}

func onlyOn(node string) *corev1.VolumeNodeAffinity {
	return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{
			Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node},
		}},
	}}}}
}

// Delete removes the volume's directory, or its device and file.
func (p provisioner) Delete(ctx context.Context, pv *corev1.PersistentVolume) error {
	node, err := nodeOf(pv)
	if err != nil {
		return err
	}
	dir := filepath.Join(p.directories(node), pv.Name)
	if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove volume directory: %w", err)
	}
	return removeLoop(ctx, dir+imageSuffix)
}

// SupportsBlock returns false: a directory is no block device, and a claim for one must stay pending with a reason.
func (provisioner) SupportsBlock(context.Context) bool { return false }

func nodeOf(pv *corev1.PersistentVolume) (string, error) {
	if a := pv.Spec.NodeAffinity; a != nil && a.Required != nil {
		for _, term := range a.Required.NodeSelectorTerms {
			for _, e := range term.MatchExpressions {
				if e.Key == corev1.LabelHostname && len(e.Values) == 1 {
					return e.Values[0], nil
				}
			}
		}
	}
	return "", fmt.Errorf("find node of volume %s: it has no affinity to one host name", pv.Name)
}
