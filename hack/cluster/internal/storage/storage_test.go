package storage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

func claim(request, capacity string) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			VolumeName:  "pv",
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(request)},
			},
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
	if capacity != "" {
		c.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(capacity)}
	}
	return c
}

func TestProvisionAndDelete(t *testing.T) {
	root := t.TempDir()
	p := provisioner{directories: func(node string) string { return filepath.Join(root, node) }}
	reclaim := corev1.PersistentVolumeReclaimDelete
	options := controller.ProvisionOptions{
		StorageClass: &storagev1.StorageClass{ReclaimPolicy: &reclaim},
		PVName:       "pv", PVC: claim("1Gi", ""), SelectedNodeName: "n2",
	}
	pv, state, err := p.Provision(t.Context(), options)
	if err != nil || state != controller.ProvisioningFinished {
		t.Fatalf("provision: %s, %v", state, err)
	}
	dir := filepath.Join(root, "n2", "pv")
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o777 {
		t.Fatalf("directory: %v, %v; any user must be able to write", info, err)
	}
	if pv.Spec.Local.Path != NodeDir+"/pv" {
		t.Errorf("path on the node = %s", pv.Spec.Local.Path)
	}
	if node, err := nodeOf(pv); err != nil || node != "n2" {
		t.Errorf("node = %q, %v", node, err)
	}
	if size := pv.Spec.Capacity[corev1.ResourceStorage]; size.String() != "1Gi" {
		t.Errorf("capacity = %s", size.String())
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds it gone
		if err := p.Delete(t.Context(), pv); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Fatalf("directory after delete: %v", err)
		}
	}
}

func TestRefusals(t *testing.T) {
	p := provisioner{directories: func(string) string { t.Error("asked for a directory"); return t.TempDir() }}
	if _, _, err := p.Provision(t.Context(), controller.ProvisionOptions{PVName: "pv", PVC: claim("1Gi", "")}); err == nil {
		t.Error("provisioned without a node")
	}
	if err := p.Delete(t.Context(), &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}}); err == nil {
		t.Error("deleted a volume of no node")
	}
	if p.SupportsBlock(t.Context()) {
		t.Error("a directory is no block device")
	}
}

func TestResize(t *testing.T) {
	foreign := corev1.PersistentVolumeClaimCondition{Type: "Unused", Status: corev1.ConditionFalse}
	resizing := corev1.PersistentVolumeClaimCondition{Type: corev1.PersistentVolumeClaimResizing, Status: corev1.ConditionTrue}
	tests := map[string]struct {
		request, capacity, owner string
		phase                    corev1.PersistentVolumeClaimPhase
		want                     string
	}{
		"larger request":         {"2Gi", "1Gi", Name, corev1.ClaimBound, "2Gi"},
		"same request":           {"1Gi", "1Gi", Name, corev1.ClaimBound, "1Gi"},
		"another's volume":       {"2Gi", "1Gi", "other", corev1.ClaimBound, "1Gi"},
		"claim without a volume": {"2Gi", "1Gi", Name, corev1.ClaimPending, "1Gi"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pvc := claim(tt.request, tt.capacity)
			pvc.Status.Phase = tt.phase
			pvc.Status.Conditions = []corev1.PersistentVolumeClaimCondition{resizing, foreign}
			pv := &corev1.PersistentVolume{
				ObjectMeta: metav1.ObjectMeta{Name: "pv", Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": tt.owner}},
				Spec:       corev1.PersistentVolumeSpec{Capacity: pvc.Status.Capacity.DeepCopy()},
			}
			client := fake.NewClientset(pvc, pv)
			factory := informers.NewSharedInformerFactory(client, 0)
			r, err := newResizer(client, nil, factory.Core().V1().PersistentVolumeClaims(), factory.Core().V1().PersistentVolumes().Lister())
			if err != nil {
				t.Fatal(err)
			}
			factory.Start(t.Context().Done())
			factory.WaitForCacheSync(t.Context().Done())
			if err := r.resize(t.Context(), "ns/data"); err != nil {
				t.Fatal(err)
			}
			gotPV, err := client.CoreV1().PersistentVolumes().Get(t.Context(), "pv", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := client.CoreV1().PersistentVolumeClaims("ns").Get(t.Context(), "data", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			volume, status := gotPV.Spec.Capacity[corev1.ResourceStorage], got.Status.Capacity[corev1.ResourceStorage]
			if volume.String() != tt.want || status.String() != tt.want {
				t.Errorf("volume %s, claim %s, want %s", volume.String(), status.String(), tt.want)
			}
			if grown := tt.want != tt.capacity; grown && (len(got.Status.Conditions) != 1 || got.Status.Conditions[0].Type != "Unused") {
				t.Errorf("conditions = %+v, want the foreign one only", got.Status.Conditions)
			}
		})
	}
}

// TestResizeLoop checks that the volume is enlarged immediately, while the claim only reports that its file system must follow,
// which is kubelet's task.
func TestResizeLoop(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "n2", "pv"+imageSuffix)
	if err := errors.Join(os.Mkdir(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("data"), 0o600), os.Truncate(file, 1<<20)); err != nil {
		t.Fatal(err)
	}
	pvc := claim("2Mi", "1Mi")
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv", Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": Name}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: pvc.Status.Capacity.DeepCopy(), NodeAffinity: onlyOn("n2"),
			PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/dev/loop77"}},
		},
	}
	client := fake.NewClientset(pvc, pv)
	factory := informers.NewSharedInformerFactory(client, 0)
	r, err := newResizer(client, func(node string) string { return filepath.Join(root, node) },
		factory.Core().V1().PersistentVolumeClaims(), factory.Core().V1().PersistentVolumes().Lister())
	if err != nil {
		t.Fatal(err)
	}
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	if err := r.resize(t.Context(), "ns/data"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Size() != 2<<20 {
		t.Errorf("file: %v, %v", info, err)
	}
	gotPV, err := client.CoreV1().PersistentVolumes().Get(t.Context(), "pv", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.CoreV1().PersistentVolumeClaims("ns").Get(t.Context(), "data", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if volume, status := gotPV.Spec.Capacity[corev1.ResourceStorage], got.Status.Capacity[corev1.ResourceStorage]; volume.String() != "2Mi" || status.String() != "1Mi" {
		t.Errorf("volume %s, claim %s", volume.String(), status.String())
	}
	if c := got.Status.Conditions; len(c) != 1 || c[0].Type != corev1.PersistentVolumeClaimFileSystemResizePending {
		t.Errorf("conditions = %+v", c)
	}
}
