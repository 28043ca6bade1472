//go:build clustertest

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	namespace = "default"
	image     = "localhost/probe:dev"
	// patience bounds every wait for something that must happen.
	patience = 3 * time.Minute
)

// harness drives one cluster through its command-line program, as users do.
type harness struct {
	program, probe, archive string
	state                   string
	kubernetes.Interface
}

// newHarness builds the program, the probe and its image. It starts nothing.
func newHarness(t *testing.T) *harness {
	t.Helper()
	dir := t.TempDir()
	h := &harness{
		program: filepath.Join(dir, "cluster"), probe: filepath.Join(dir, "probe"),
		archive: filepath.Join(dir, "probe.tar"), state: filepath.Join(dir, "state"),
	}
	for _, args := range [][]string{
		{"build", "-o", h.program, "."},
		{"build", "-o", h.probe, "./testdata/probe"},
		{"run", "../image", "--program", "./testdata/probe", "--tag", image, "--output", h.archive},
	} {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := h.run("down"); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
		h.verifyNothingLeft(t)
	})
	return h
}

// run runs one command and returns its output.
func (h *harness) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, h.program, append([]string{"--state", h.state}, args...)...).CombinedOutput()
	return string(out), err
}

func (h *harness) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := h.run(args...)
	if err != nil {
		t.Fatalf("cluster %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// up starts the cluster with the probe's image on it.
func (h *harness) up(t *testing.T) {
	t.Helper()
	t.Log(h.must(t, "up"))
	h.must(t, "load", h.archive)
	config, err := clientcmd.BuildConfigFromFlags("", strings.TrimSpace(h.must(t, "kubeconfig")))
	if err != nil {
		t.Fatal(err)
	}
	config.Timeout = 10 * time.Second
	if h.Interface, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
}

// kubectl runs the administrator's kubectl on the host, for at most half a minute: against a worker that is cut off, "exec" would
// wait longer than any request timeout.
func (h *harness) kubectl(args ...string) (string, error) {
	path, err := h.run("tool-path", "kubectl")
	if err != nil {
		return path, err
	}
	args = append([]string{"--kubeconfig", filepath.Join(h.state, "kubeconfig"), "--request-timeout=10s"}, args...)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, strings.TrimSpace(path), args...).CombinedOutput()
	return string(out), err
}

// get requests a URL from the machine "client".
func (h *harness) get(url string) (string, error) {
	return h.run("exec", "client", h.probe, "get", url)
}

// remove deletes objects and waits until they are gone.
func (h *harness) remove(t *testing.T, objects ...string) {
	t.Helper()
	args := append([]string{"delete", "--wait=false"}, objects...)
	if out, err := h.kubectl(args...); err != nil {
		t.Fatalf("delete %v: %v: %s", objects, err, out)
	}
	for _, o := range objects {
		eventually(t, o+" is gone", func() error {
			if out, err := h.kubectl("get", o); err == nil || !strings.Contains(out, "NotFound") {
				return fmt.Errorf("%v: %s", err, out)
			}
			return nil
		})
	}
}

// ask makes a pod query its own probe. It goes through exec and so avoids the pod network.
func (h *harness) ask(pod, path string) (string, error) {
	return h.kubectl("exec", pod, "--", "/probe", "get", "http://127.0.0.1:8080"+path)
}

func (h *harness) verifyNothingLeft(t *testing.T) {
	t.Helper()
	if out, err := h.run("down", "--verify"); err != nil {
		t.Errorf("down --verify: %v\n%s", err, out)
	}
	if mounts, err := os.ReadFile("/proc/mounts"); err != nil || bytes.Contains(mounts, []byte(h.state)) {
		t.Errorf("a mount of the cluster is left, or none could be read (%v)", err)
	}
	if links, err := exec.Command("ip", "-o", "link").Output(); err != nil || bytes.Contains(links, []byte("p-n1")) {
		t.Errorf("an interface of the cluster is left, or none could be read (%v)", err)
	}
	if _, err := os.Stat(h.state); !os.IsNotExist(err) {
		t.Errorf("state directory is left: %v", err)
	}
}

// eventually waits until check returns nil.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// answers returns a check that call returns want.
func answers(want string, call func() (string, error)) func() error {
	return func() error {
		got, err := call()
		if err != nil {
			return fmt.Errorf("%w: %s", err, got)
		}
		if got != want {
			return fmt.Errorf("answer %q, want %q", got, want)
		}
		return nil
	}
}

// createPod runs a probe on a worker as an ordinary user, with its own volume at /data.
func (h *harness) createPod(t *testing.T, name, node string, fsGroup *int64) {
	t.Helper()
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("64Mi")},
			},
		},
	}
	if _, err := h.CoreV1().PersistentVolumeClaims(namespace).Create(t.Context(), claim, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.createPodOnClaim(t, name, node, fsGroup)
}

func (h *harness) createPodOnClaim(t *testing.T, name, node string, fsGroup *int64) {
	t.Helper()
	user, grace := int64(65532), int64(1)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "probe"}},
		Spec: corev1.PodSpec{
			NodeSelector:                  map[string]string{corev1.LabelHostname: node},
			SecurityContext:               &corev1.PodSecurityContext{RunAsUser: &user, RunAsGroup: &user, FSGroup: fsGroup},
			TerminationGracePeriodSeconds: &grace,
			Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{
				Name: "probe", Image: image, Command: []string{"/probe"}, ImagePullPolicy: corev1.PullNever,
				ReadinessProbe: &corev1.Probe{
					ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/name", Port: intstr.FromInt32(8080)}},
					PeriodSeconds: 1,
				},
				VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
			}},
			Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
			}}},
		},
	}
	if _, err := h.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (h *harness) createService(t *testing.T) {
	t.Helper()
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "probe"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "probe"}, Ports: []corev1.ServicePort{{Port: 8080}},
		},
	}
	if _, err := h.CoreV1().Services(namespace).Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (h *harness) pod(ctx context.Context, name string) (*corev1.Pod, error) {
	return h.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (h *harness) waitReady(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	eventually(t, "pod "+name+" becomes ready", func() error {
		var err error
		if pod, err = h.pod(t.Context(), name); err != nil {
			return err
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("phase %s, %+v", pod.Status.Phase, pod.Status.ContainerStatuses)
	})
	return pod
}

// url returns the URL of a pod's probe, by its address on the pod network.
func url(pod *corev1.Pod, path string) string { return "http://" + pod.Status.PodIP + ":8080" + path }
