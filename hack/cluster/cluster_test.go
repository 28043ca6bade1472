//go:build clustertest

package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestCluster runs one cluster through everything that the demo and the end-to-end tests rely on. The parts share the cluster and
// run in order; each of them leaves it intact.
func TestCluster(t *testing.T) {
	h := newHarness(t)
	h.up(t)
	group := int64(65532)
	h.createPod(t, "p1", "n1", nil)
	h.createPod(t, "p2", "n2", &group)
	h.createPod(t, "p3", "n3", &group)
	h.createService(t)
	for _, name := range []string{"p1", "p2", "p3"} {
		h.waitReady(t, name)
	}
	parts := []struct {
		name string
		run  func(*testing.T, *harness)
	}{
		{"services and names", testServices},
		{"kubelet's API", testKubeletAPI},
		{"access rules", testAccess},
		{"storage", testStorage},
		{"pause and resume", testPause},
		{"kill a process", testKillProcess},
		{"cuts", testCuts},
		{"API outage", testAPIOutage},
		{"lose a worker", testLoseWorker},
	}
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) { part.run(t, h) })
	}
}

func testServices(t *testing.T, h *harness) {
	// From the client: name, virtual address, and every pod behind it.
	seen := map[string]bool{}
	eventually(t, "the service reaches all three pods", func() error {
		name, err := h.get("http://probe.default.svc.cluster.local:8080/name")
		if err != nil {
			return fmt.Errorf("%w: %s", err, name)
		}
		if seen[name] = true; len(seen) != 3 {
			return fmt.Errorf("reached %v", seen)
		}
		return nil
	})
	service, err := h.CoreV1().Services(namespace).Get(t.Context(), "probe", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range []string{"p1", "p2", "p3"} {
		for _, name := range []string{"probe", "probe.default", "probe.default.svc.cluster.local"} {
			eventually(t, pod+" looks up "+name, answers("["+service.Spec.ClusterIP+"]", func() (string, error) {
				return h.ask(pod, "/lookup?name="+name)
			}))
		}
		eventually(t, pod+" reaches the API server", answers("connected", func() (string, error) {
			return h.ask(pod, "/dial?address=kubernetes.default.svc.cluster.local:443")
		}))
		if out, err := h.ask(pod, "/lookup?name=outside.example"); err == nil {
			t.Errorf("%s looked up a name outside the cluster: %s", pod, out)
		}
	}
	// Each pod reaches each pod through the service, itself included.
	for _, pod := range []string{"p1", "p2", "p3"} {
		reached := map[string]bool{}
		eventually(t, pod+" reaches all through the service", func() error {
			name, err := h.ask(pod, "/fetch?url=http://probe:8080/name")
			if err != nil {
				t.Fatalf("%s through the service: %v: %s", pod, err, name)
			}
			if reached[name] = true; len(reached) != 3 {
				return fmt.Errorf("reached %v", reached)
			}
			return nil
		})
	}
}

func testKubeletAPI(t *testing.T, h *harness) {
	eventually(t, "logs", func() error {
		out, err := h.kubectl("logs", "p1")
		if err != nil || !strings.Contains(out, "probe on p1 as 65532") {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	path := strings.TrimSpace(h.must(t, "tool-path", "kubectl"))
	forward := exec.CommandContext(t.Context(), path, "--kubeconfig", filepath.Join(h.state, "kubeconfig"),
		"port-forward", "--address=127.0.0.1", "p2", ":8080")
	out, err := forward.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := forward.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { forward.Process.Kill(); forward.Wait() }()
	var port int
	line := make([]byte, 200)
	n, err := out.Read(line)
	if _, scanErr := fmt.Sscanf(string(line[:n]), "Forwarding from 127.0.0.1:%d ->", &port); scanErr != nil {
		t.Fatalf("port-forward said %q (%v)", line[:n], errors.Join(err, scanErr))
	}
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/name", port))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("through port-forward: %s", resp.Status)
	}
}

func testAccess(t *testing.T, h *harness) {
	kubectl := strings.TrimSpace(h.must(t, "tool-path", "kubectl"))
	as := func(identity string, args ...string) (string, error) {
		args = append([]string{"exec", "client", kubectl, "--kubeconfig", filepath.Join(h.state, "pki", identity+".kubeconfig")}, args...)
		return h.run(args...)
	}
	if out, err := as("n1", "get", "node", "n1"); err != nil {
		t.Errorf("a worker must read its own node: %v: %s", err, out)
	}
	denied := map[string][]string{
		"n1":           {"get", "secrets", "-A"},
		"n2":           {"label", "node", "n1", "x=y"},
		"coredns":      {"get", "secrets", "-A"},
		"client-proxy": {"get", "pods", "-A"},
	}
	for identity, args := range denied {
		if out, err := as(identity, args...); err == nil || !strings.Contains(out, "Forbidden") && !strings.Contains(out, "forbidden") {
			t.Errorf("%s %v: want forbidden, got %v: %s", identity, args, err, out)
		}
	}
	if out, err := h.kubectl("auth", "can-i", "create", "pods", "--as=system:serviceaccount:default:default"); err == nil {
		t.Errorf("the default service account may create pods: %s", out)
	}
	nodes, err := h.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	zones := map[string]string{}
	for _, n := range nodes.Items {
		zones[n.Name] = n.Labels[corev1.LabelTopologyZone]
	}
	if zones["n1"] != "zone-a" || zones["n2"] != "zone-b" || zones["n3"] != "zone-c" || len(zones) != 3 {
		t.Errorf("zones = %v", zones)
	}
}

func testStorage(t *testing.T, h *harness) {
	for _, name := range []string{"p1", "p2"} { // without and with a group for volumes
		h.put(t, name, "written by "+name)
	}
	// A new pod on the same claim finds the data.
	h.remove(t, "pod/p2")
	group := int64(65532)
	h.createPodOnClaim(t, "p2", "n2", &group)
	h.waitReady(t, "p2")
	eventually(t, "the new pod finds the data", answers("written by p2", func() (string, error) { return h.ask("p2", "/file") }))

	claims := h.CoreV1().PersistentVolumeClaims(namespace)
	claim, err := claims.Get(t.Context(), "p2", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := resource.MustParse("128Mi")
	claim.Spec.Resources.Requests[corev1.ResourceStorage] = want
	if _, err := claims.Update(t.Context(), claim, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the claim grows", func() error {
		c, err := claims.Get(t.Context(), "p2", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if have := c.Status.Capacity[corev1.ResourceStorage]; have.Cmp(want) != 0 {
			return fmt.Errorf("status %+v", c.Status)
		}
		return nil
	})

	h.createPod(t, "gone", "n3", nil)
	h.waitReady(t, "gone")
	volumes := filepath.Join(h.state, "machines", "n3", "volumes")
	before, err := os.ReadDir(volumes)
	if err != nil || len(before) != 2 {
		t.Fatalf("volumes of n3: %v, %v", before, err)
	}
	h.remove(t, "pod/gone", "pvc/gone")
	eventually(t, "the volume's directory is reclaimed", func() error {
		if after, err := os.ReadDir(volumes); err != nil || len(after) != 1 {
			return fmt.Errorf("volumes: %v, %v", after, err)
		}
		return nil
	})
}

// put writes content to a pod's volume, over the pod network from the client.
func (h *harness) put(t *testing.T, name, content string) {
	t.Helper()
	pod, err := h.pod(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, name+" writes", func() error {
		out, err := h.run("exec", "client", h.probe, "put", url(pod, "/file"), content)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

func testPause(t *testing.T, h *harness) {
	pod := h.waitReady(t, "p1")
	h.must(t, "pause", "p1")
	if out, err := h.get(url(pod, "/name")); err == nil {
		t.Errorf("a paused pod answered %q", out)
	}
	h.must(t, "resume", "p1")
	eventually(t, "the pod answers again", answers("p1", func() (string, error) { return h.get(url(pod, "/name")) }))
	if out, err := h.run("pause", "p1", "--namespace", "kube-system"); err == nil {
		t.Errorf("paused a pod that does not exist: %s", out)
	}
}

func testKillProcess(t *testing.T, h *harness) {
	before := h.waitReady(t, "p1").Status.ContainerStatuses[0].RestartCount
	h.must(t, "kill-process", "p1", "--signal", "KILL")
	eventually(t, "kubelet restarts the container", func() error {
		pod, err := h.pod(t.Context(), "p1")
		if err != nil {
			return err
		}
		if s := pod.Status.ContainerStatuses[0]; s.RestartCount != before+1 || !s.Ready {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	eventually(t, "its data is there", answers("written by p1", func() (string, error) { return h.ask("p1", "/file") }))
}

func testLoseWorker(t *testing.T, h *harness) {
	pod := h.waitReady(t, "p1")
	h.must(t, "kill", "n1")
	if out, err := h.get(url(pod, "/name")); err == nil {
		t.Errorf("a pod on a lost worker answered %q", out)
	}
	if out, err := h.run("exec", "n1", "true"); err == nil {
		t.Errorf("ran a command on a lost worker: %s", out)
	}
	for range 5 { // the client and the DNS do not depend on n1
		p2 := h.waitReady(t, "p2")
		eventually(t, "the others answer", answers("p2", func() (string, error) { return h.get(url(p2, "/name")) }))
	}
	h.must(t, "start", "n1")
	eventually(t, "kubelet starts the pod's containers anew", func() error {
		now, err := h.pod(t.Context(), "p1")
		if err != nil {
			return err
		}
		if s := now.Status.ContainerStatuses; len(s) != 1 || !s[0].Ready || now.Status.PodIP == "" ||
			s[0].ContainerID == pod.Status.ContainerStatuses[0].ContainerID {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	if now := h.waitReady(t, "p1"); now.UID != pod.UID {
		t.Errorf("another pod: %s, was %s", now.UID, pod.UID)
	}
	eventually(t, "its data is there", answers("written by p1", func() (string, error) { return h.ask("p1", "/file") }))
	eventually(t, "the worker is ready", func() error {
		if out := h.must(t, "status"); strings.Contains(out, "not ready") {
			return errors.New(out)
		}
		return nil
	})
}
