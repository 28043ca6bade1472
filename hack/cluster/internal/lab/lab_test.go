package lab

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/pki"
)

func open(t *testing.T) *Lab {
	t.Helper()
	l, err := Open(filepath.Join(t.TempDir(), "state"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestPortsAreDistinct(t *testing.T) {
	addresses, pods := map[string]string{}, map[string]string{}
	for _, p := range (Spec{Nodes: MaxNodes}).ports() {
		if other := addresses[p.Address.String()]; other != "" {
			t.Errorf("%s and %s share %s", other, p.Name, p.Address)
		}
		addresses[p.Address.String()] = p.Name
		if !p.Pods.IsValid() {
			continue
		}
		if other := pods[p.Pods.String()]; other != "" {
			t.Errorf("%s and %s share %s", other, p.Name, p.Pods)
		}
		pods[p.Pods.String()] = p.Name
	}
	if len(pods) != MaxNodes {
		t.Errorf("%d pod networks, want %d", len(pods), MaxNodes)
	}
}

func TestContainerIDs(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"orders-1_default_node-aaa.log", "orders-1_default_node-bbb.log", "orders-1_default_side-car-ccc.log",
		"orders-1_other_node-ddd.log", "orders-10_default_node-eee.log", "orders_default_node-fff.log",
	} {
		if err := os.Symlink("/nowhere", filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		ref  PodRef
		want map[string][]string
	}{
		"all containers, all runs": {
			PodRef{Namespace: "default", Name: "orders-1"}, map[string][]string{"node": {"aaa", "bbb"}, "side-car": {"ccc"}},
		},
		"one container":     {PodRef{Namespace: "default", Name: "orders-1", Container: "side-car"}, map[string][]string{"side-car": {"ccc"}}},
		"another namespace": {PodRef{Namespace: "other", Name: "orders-1"}, map[string][]string{"node": {"ddd"}}},
		"no such pod":       {PodRef{Namespace: "default", Name: "order"}, map[string][]string{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := containerIDs(dir, tt.ref)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("ids = %v, %v, want %v", got, err, tt.want)
			}
		})
	}
	if got, err := containerIDs(filepath.Join(dir, "none"), PodRef{}); err != nil || len(got) != 0 {
		t.Errorf("a worker without containers: %v, %v", got, err)
	}
}

// TestAssets renders every template and parses the result as its reader would.
func TestAssets(t *testing.T) {
	data := map[string]any{
		"Dir": "/d", "PauseImage": pauseImage, "CNIDir": "/c", "Pods": "10.244.1.0/24", "Address": "10.99.0.11", "CA": "/ca",
		"Serving": pki.Pair{Cert: "/crt", Key: "/key"}, "DNSService": dnsService, "CgroupRoot": "/g", "Kubeconfig": "/k",
		"Provisioner": "p", "DNSAddress": dnsAddress,
	}
	entries, err := assets.ReadDir("assets")
	if err != nil || len(entries) == 0 {
		t.Fatalf("assets: %v, %v", entries, err)
	}
	for _, e := range entries {
		content, err := render(e.Name(), data)
		if err != nil {
			t.Error(err)
			continue
		}
		switch filepath.Ext(e.Name()) {
		case ".yaml":
			for document := range bytes.SplitSeq(content, []byte("\n---\n")) {
				var object map[string]any
				if err := yaml.UnmarshalStrict(document, &object); err != nil || object["kind"] == nil {
					t.Errorf("%s: %v in\n%s", e.Name(), err, document)
				}
			}
		case ".conflist":
			if !json.Valid(content) {
				t.Errorf("%s is not JSON:\n%s", e.Name(), content)
			}
		}
	}
	if _, err := render("kubelet.yaml", map[string]any{}); err == nil {
		t.Error("a template was filled in without its data")
	}
}

func TestPlaceOfTheState(t *testing.T) {
	for _, dir := range []string{"/run/x", "/var/lib/x/y", "/var/log", "/proc/1"} {
		if checkPlace(dir) == nil {
			t.Errorf("state in %s accepted", dir)
		}
	}
	for _, dir := range []string{"/home/u/repo/.run/cluster", "/var/library", "/runner/x", "/tmp/s"} {
		if err := checkPlace(dir); err != nil {
			t.Error(err)
		}
	}
}

func TestVerbsNeedACluster(t *testing.T) {
	l := open(t)
	for name, verb := range map[string]func() error{
		"kill":    func() error { return l.Kill("n1") },
		"cut":     func() error { return l.Cut("n1", "n2", "both") },
		"api":     l.APIDown,
		"load":    func() error { return l.Load("/nowhere.tar") },
		"process": func() error { return l.KillProcess(PodRef{Namespace: "default", Name: "p"}, 9) },
	} {
		if err := verb(); err == nil {
			t.Errorf("%s without a cluster succeeded", name)
		}
	}
	if _, err := os.Stat(l.Dir() + ".lock"); !os.IsNotExist(err) {
		t.Errorf("a verb without a cluster left a lock: %v", err)
	}
}

// TestLockOutlivesItsFile checks that a waiter does not get a lock that others cannot see after the holder has removed the file.
func TestLockOutlivesItsFile(t *testing.T) {
	l := open(t)
	unlock, err := l.lock()
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	order := make(chan string, 2)
	go func() {
		second, err := l.lock()
		if err == nil {
			order <- "second"
			second()
		}
		got <- err
	}()
	time.Sleep(50 * time.Millisecond) // give it time to wait; the test is valid without, too
	order <- "first"
	if err := os.Remove(l.Dir() + ".lock"); err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	if all := []string{<-order, <-order}; !slices.Equal(all, []string{"first", "second"}) {
		t.Errorf("order = %v", all)
	}
	if _, err := os.Stat(l.Dir() + ".lock"); err != nil {
		t.Errorf("the second holder's lock has no file: %v", err)
	}
}
