package stage

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// LoopClass is the own cluster's storage class whose volumes can fill up, freeze and fail.
const LoopClass = "loop"

// Volume returns a member's claim and the volume that it is bound to.
func (s *Store) Volume(ctx context.Context, member string) (*corev1.PersistentVolumeClaim, *corev1.PersistentVolume, error) {
	claim, volume := &corev1.PersistentVolumeClaim{}, &corev1.PersistentVolume{}
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: member}, claim); err != nil {
		return nil, nil, fmt.Errorf("find the claim of %s: %w", member, err)
	}
	if err := s.Client.Get(ctx, client.ObjectKey{Name: claim.Spec.VolumeName}, volume); err != nil {
		return nil, nil, fmt.Errorf("find the volume of %s: %w", member, err)
	}
	return claim, volume, nil
}

// EmptyVolume removes everything from a member's volume, which must be of the storage class that makes directories. The member
// should not be running.
func (s *Store) EmptyVolume(ctx context.Context, member, node string) error {
	_, volume, err := s.Volume(ctx, member)
	if err != nil {
		return err
	}
	if volume.Spec.Local == nil || !strings.HasPrefix(volume.Spec.Local.Path, "/var/lib/local-volumes/") {
		return fmt.Errorf("volume %s is no directory of the own cluster", volume.Name)
	}
	_, err = s.Cluster.On(ctx, node, "find", volume.Spec.Local.Path, "-mindepth", "1", "-delete")
	return err
}

// LoseVolume deletes a member's volume object and its finalizers, so that the claim is Lost.
func (s *Store) LoseVolume(ctx context.Context, member string) error {
	_, volume, err := s.Volume(ctx, member)
	if err != nil {
		return err
	}
	if err := s.Client.Delete(ctx, volume); err != nil { // delete it first: as long as it stays, removed finalizers are added again
		return err
	}
	release := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	return client.IgnoreNotFound(s.Client.Patch(ctx, volume, release))
}

// Disk is the disk of a member whose volume is of LoopClass.
type Disk struct {
	cluster      *Cluster
	node         string
	device, path string
}

// Disk finds the disk of a member. The member must run, or have run, on the node.
func (s *Store) Disk(ctx context.Context, member, node string) (*Disk, error) {
	_, volume, err := s.Volume(ctx, member)
	if err != nil {
		return nil, err
	}
	if volume.Spec.Local == nil || !strings.HasPrefix(volume.Spec.Local.Path, "/dev/loop") {
		return nil, fmt.Errorf("volume %s is no loop device", volume.Name)
	}
	d := &Disk{cluster: s.Cluster, node: node, device: volume.Spec.Local.Path}
	d.path, err = s.Cluster.On(ctx, node, "findmnt", "--noheadings", "--first-only", "--output", "TARGET", "--source", d.device)
	return d, err
}

// Fill uses up all space that is left, until Free.
func (d *Disk) Fill(ctx context.Context) error {
	_, err := d.cluster.On(ctx, d.node, "/bin/sh", "-c", `dd if=/dev/zero of="$1/filler" bs=1M 2>/dev/null; dd if=/dev/zero of="$1/filler2" bs=4k 2>/dev/null; test -s "$1/filler"`, "fill", d.path)
	return err
}

// Free frees what Fill took.
func (d *Disk) Free(ctx context.Context) error {
	_, err := d.cluster.On(ctx, d.node, "rm", "-f", d.path+"/filler", d.path+"/filler2")
	return err
}

// Freeze makes every write and every fsync hang until Thaw.
func (d *Disk) Freeze(ctx context.Context) error {
	_, err := d.cluster.On(ctx, d.node, "fsfreeze", "--freeze", d.path)
	return err
}

// Thaw resumes a frozen disk.
func (d *Disk) Thaw(ctx context.Context) error {
	_, err := d.cluster.On(ctx, d.node, "fsfreeze", "--unfreeze", d.path)
	return err
}

// Break makes every access beyond the disk's first MiB fail: from now on the device ends there.
func (d *Disk) Break(ctx context.Context) error {
	file, err := d.cluster.On(ctx, d.node, "losetup", "--noheadings", "--output", "BACK-FILE", d.device)
	if err != nil {
		return err
	}
	_, err = d.cluster.On(ctx, d.node, "/bin/sh", "-c", `truncate --size=1M "$1" && losetup --set-capacity "$2"`, "break", strings.TrimSpace(file), d.device)
	return err
}
