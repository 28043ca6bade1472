// Package lab is the cluster: its machines, what runs on each of them, how it starts and stops, and the faults that can be
// injected into it.
package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/cgroup"
	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/fabric"
	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/machine"
)

// The machines besides the workers n1, n2, ...
const (
	switchName = "switch" // the network between the others
	apiName    = "api"    // control plane
	dnsName    = "dns"    // cluster DNS
	clientName = "client" // runs nothing itself; for load generators and tests
)

var (
	apiAddress    = netip.MustParseAddr("10.99.0.2")
	dnsAddress    = netip.MustParseAddr("10.99.0.3")
	clientAddress = netip.MustParseAddr("10.99.0.4")
	dnsService    = netip.MustParseAddr("10.96.0.10")
	apiService    = netip.MustParseAddr("10.96.0.1")
)

// MaxNodes is the largest number of workers that the address plan allows.
const MaxNodes = 100

// Lab is one cluster. Its state is in one directory.
type Lab struct {
	dir string
	log io.Writer // for people
}

// Open returns the cluster in dir. It creates nothing.
func Open(dir string, log io.Writer) (*Lab, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("locate state directory: %w", err)
	}
	// The same cluster must be found through any symbolic link, and programs inside the machines need the real path.
	if resolved, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		abs = filepath.Join(resolved, filepath.Base(abs))
	}
	return &Lab{dir: abs, log: log}, nil
}

// Spec is what a cluster was started with.
type Spec struct {
	Nodes    int  `json:"nodes"`
	Port     int  `json:"port"`     // of the API server, on the host's loopback interface
	Complete bool `json:"complete"` // the start succeeded
}

func (l *Lab) path(parts ...string) string {
	return filepath.Join(append([]string{l.dir}, parts...)...)
}
func (l *Lab) machineDir(name string) string { return l.path("machines", name) }
func (l *Lab) imagesDir() string             { return l.path("images") }

func (l *Lab) apiReadyFile() string            { return l.path("api-ready") }
func (l *Lab) kubeconfigOf(name string) string { return l.path("pki", name+".kubeconfig") }
func (l *Lab) volumesDir(worker string) string { return filepath.Join(l.machineDir(worker), "volumes") }
func (l *Lab) say(format string, args ...any)  { fmt.Fprintf(l.log, format+"\n", args...) }

// Dir returns the state directory.
func (l *Lab) Dir() string { return l.dir }

// Kubeconfig returns the path of the administrator's kubeconfig file, for use on the host.
func (l *Lab) Kubeconfig() string { return l.path("kubeconfig") }

// id distinguishes the clusters of one host in what they share: the cgroup file system.
func (l *Lab) id() string {
	sum := sha256.Sum256([]byte(l.dir))
	return "rstore-" + hex.EncodeToString(sum[:4])
}

func (l *Lab) cgroup() (cgroup.Group, error) {
	host, err := cgroup.Detect()
	if err != nil {
		return cgroup.Group{}, err
	}
	return host.Group(l.id()), nil
}

// loadSpec reads the spec. found is false if there is no cluster.
func (l *Lab) loadSpec() (s Spec, found bool, err error) {
	content, err := os.ReadFile(l.path("cluster.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return Spec{}, false, nil
	}
	if err != nil {
		return Spec{}, false, fmt.Errorf("load cluster: %w", err)
	}
	if err := json.Unmarshal(content, &s); err != nil {
		return Spec{}, false, fmt.Errorf("parse cluster.json: %w", err)
	}
	return s, true, nil
}

// running reads the spec of a cluster that must exist.
func (l *Lab) running() (Spec, error) {
	s, found, err := l.loadSpec()
	if err == nil && (!found || !s.Complete) {
		err = fmt.Errorf("no cluster runs in %s; start one with \"cluster up\"", l.dir)
	}
	return s, err
}

func (l *Lab) saveSpec(s Spec) error { return l.saveJSON("cluster.json", s) }

func (l *Lab) saveJSON(name string, value any) error {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return replaceFile(l.path(name), append(content, '\n'))
}

// replaceFile writes path atomically.
func replaceFile(path string, content []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, content, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("publish %s: %w", path, err)
	}
	return nil
}

// lock serializes the commands that change the cluster. The lock file lies beside the state directory, so that it outlives the
// removal of that directory. The holder of the lock removes it together with the directory.
func (l *Lab) lock() (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(l.dir), 0o755); err != nil {
		return nil, fmt.Errorf("create parent of state directory: %w", err)
	}
	path := l.dir + ".lock"
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open lock: %w", err)
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		held, errHeld := f.Stat()
		named, errNamed := os.Stat(path)
		if errHeld == nil && errNamed == nil && os.SameFile(held, named) {
			return func() { f.Close() }, nil
		}
		f.Close() // the previous holder has removed the file, so the lock on it protects nothing
	}
}

// workers lists the workers' names.
func (s Spec) workers() []string {
	names := make([]string, s.Nodes)
	for i := range names {
		names[i] = fmt.Sprintf("n%d", i+1)
	}
	return names
}

// ports lists every machine that is plugged into the switch.
func (s Spec) ports() []fabric.Port {
	ports := []fabric.Port{
		{Name: apiName, Address: apiAddress}, {Name: dnsName, Address: dnsAddress}, {Name: clientName, Address: clientAddress},
	}
	for i, name := range s.workers() {
		ports = append(ports, fabric.Port{
			Name:    name,
			Address: netip.AddrFrom4([4]byte{10, 99, 0, byte(11 + i)}),
			Pods:    netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, byte(1 + i), 0}), 24),
		})
	}
	return ports
}

func (s Spec) port(name string) (fabric.Port, error) {
	ports := s.ports()
	i := slices.IndexFunc(ports, func(p fabric.Port) bool { return p.Name == name })
	if i < 0 {
		names := make([]string, 0, len(ports))
		for _, p := range ports {
			names = append(names, p.Name)
		}
		return fabric.Port{}, fmt.Errorf("find machine %q: there are %s", name, strings.Join(names, ", "))
	}
	return ports[i], nil
}

func (s Spec) checkWorker(name string) error {
	if !slices.Contains(s.workers(), name) {
		return fmt.Errorf("find worker %q: there are %s", name, strings.Join(s.workers(), ", "))
	}
	return nil
}

// record returns the machine's init if it is running.
func (l *Lab) record(name string) (machine.Record, error) {
	r, found, err := machine.LoadRecord(l.machineDir(name))
	if err != nil {
		return r, err
	}
	if !found || !r.Alive() {
		return r, fmt.Errorf("machine %s does not run", name)
	}
	return r, nil
}

// Program returns the path of the cluster's copy of this program.
func (l *Lab) Program() string { return l.path("bin", "cluster") }
