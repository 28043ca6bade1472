package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// resizer completes requests for larger volumes. A directory has no size of its own, so there is nothing to do on the node: the
// resizer raises the volume's capacity, then the claim's status. For a loop device it enlarges the device; kubelet grows the
// mounted file system and then raises the claim's status.
type resizer struct {
	client  kubernetes.Interface
	files   Directories
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	queue   workqueue.TypedRateLimitingInterface[string]
}

func newResizer(client kubernetes.Interface, files Directories, claims coreinformers.PersistentVolumeClaimInformer, volumes corelisters.PersistentVolumeLister) (*resizer, error) {
	r := &resizer{
		client: client, files: files, claims: claims.Lister(), volumes: volumes,
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]()),
	}
	enqueue := func(object any) {
		if key, err := cache.MetaNamespaceKeyFunc(object); err == nil {
			r.queue.Add(key)
		}
	}
	_, err := claims.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, object any) { enqueue(object) },
	})
	if err != nil {
		return nil, fmt.Errorf("watch claims: %w", err)
	}
	return r, nil
}

func (r *resizer) run(ctx context.Context) error {
	go func() {
		<-ctx.Done()
		r.queue.ShutDown()
	}()
	for {
		key, stop := r.queue.Get()
		if stop {
			return ctx.Err()
		}
		if err := r.resize(ctx, key); err != nil {
			utilruntime.HandleError(fmt.Errorf("resize claim %s: %w", key, err))
			r.queue.AddRateLimited(key)
		} else {
			r.queue.Forget(key)
		}
		r.queue.Done(key)
	}
}

func (r *resizer) resize(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	pvc, err := r.claims.PersistentVolumeClaims(namespace).Get(name)
	if err != nil || !wantsMore(pvc) {
		return nil // gone, or nothing to do
	}
	pv, err := r.volumes.Get(pvc.Spec.VolumeName)
	if err != nil {
		return fmt.Errorf("read volume: %w", err)
	}
	if pv.Annotations["pv.kubernetes.io/provisioned-by"] != Name {
		return nil
	}
	want := pvc.Spec.Resources.Requests[corev1.ResourceStorage]
	onLoop := pv.Spec.Local != nil && strings.HasPrefix(pv.Spec.Local.Path, "/dev/")
	if onLoop {
		node, err := nodeOf(pv)
		if err != nil {
			return err
		}
		if err := growLoop(ctx, filepath.Join(r.files(node), pv.Name)+imageSuffix, want.Value()); err != nil {
			return err
		}
	}
	capacity := corev1.ResourceList{corev1.ResourceStorage: want}
	have := pv.Spec.Capacity[corev1.ResourceStorage]
	if have.Cmp(want) < 0 {
		patch, err := json.Marshal(map[string]any{"spec": map[string]any{"capacity": capacity}})
		if err != nil {
			return err
		}
		_, err = r.client.CoreV1().PersistentVolumes().Patch(ctx, pv.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		if err != nil {
			return fmt.Errorf("raise capacity of volume: %w", err)
		}
	}
	grown := pvc.DeepCopy()
	grown.Status.Conditions = slices.DeleteFunc(grown.Status.Conditions, aboutResize)
	if onLoop {
		grown.Status.Conditions = append(grown.Status.Conditions, corev1.PersistentVolumeClaimCondition{
			Type: corev1.PersistentVolumeClaimFileSystemResizePending, Status: corev1.ConditionTrue,
			Message: "Kubelet grows the file system on the node that uses it.",
		})
	} else {
		grown.Status.Capacity = capacity
	}
	if equality.Semantic.DeepEqual(grown.Status, pvc.Status) {
		return nil
	}
	_, err = r.client.CoreV1().PersistentVolumeClaims(namespace).UpdateStatus(ctx, grown, metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("tell how far the claim has grown: %w", err)
	}
	return nil
}

// aboutResize selects the conditions that a completed resize removes. Others belong to somebody else.
func aboutResize(c corev1.PersistentVolumeClaimCondition) bool {
	return c.Type == corev1.PersistentVolumeClaimResizing || c.Type == corev1.PersistentVolumeClaimFileSystemResizePending
}

// wantsMore reports whether a bound claim requests more than it has.
func wantsMore(pvc *corev1.PersistentVolumeClaim) bool {
	want := pvc.Spec.Resources.Requests[corev1.ResourceStorage]
	have := pvc.Status.Capacity[corev1.ResourceStorage]
	return pvc.Status.Phase == corev1.ClaimBound && pvc.Spec.VolumeName != "" && want.Cmp(have) > 0
}
