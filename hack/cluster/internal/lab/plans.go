package lab

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"text/template"

	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/fabric"
	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/machine"
	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/pki"
	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/storage"
	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/tool"
)

//go:embed assets
var assets embed.FS

const pauseImage = "localhost/pause:1"

// render fills in the template assets/name.
func render(name string, data any) ([]byte, error) {
	t, err := template.ParseFS(assets, "assets/"+name)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Option("missingkey=error").Execute(&b, data); err != nil {
		return nil, fmt.Errorf("fill in %s: %w", name, err)
	}
	return b.Bytes(), nil
}

func renderTo(path, name string, data any) error {
	content, err := render(name, data)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("create configuration directory: %w", err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// planner creates the plans of a cluster's machines.
type planner struct {
	*Lab
	spec     Spec
	keys     keys
	programs map[string]string
}

// plan returns what all machines have in common.
func (p *planner) plan(name string, services ...machine.Service) (machine.Plan, error) {
	group, err := p.cgroup()
	if err != nil {
		return machine.Plan{}, err
	}
	join, err := group.Child(name).Child("system").CreateLeaf()
	if err != nil {
		return machine.Plan{}, err
	}
	return machine.Plan{
		Name: name, Dir: p.machineDir(name), CgroupJoin: join, Services: services,
		ResolvConf: fmt.Sprintf("nameserver %s\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n", dnsService),
		Sysctls: map[string]string{
			"net.ipv4.ip_forward":                "1",
			"net.bridge.bridge-nf-call-iptables": "0", "net.bridge.bridge-nf-call-ip6tables": "0",
			"net.bridge.bridge-nf-call-arptables": "0",
		},
	}, nil
}

// writeAll stores the plan of every machine.
func (p *planner) writeAll() error {
	makers := []func() (machine.Plan, error){p.switchPlan, p.apiPlan, p.dnsPlan, p.clientPlan}
	for _, name := range p.spec.workers() {
		makers = append(makers, func() (machine.Plan, error) { return p.workerPlan(name) })
	}
	for _, maker := range makers {
		plan, err := maker()
		if err != nil {
			return fmt.Errorf("plan a machine: %w", err)
		}
		if err := plan.Save(); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) switchPlan() (machine.Plan, error) { return p.plan(switchName) }

func (p *planner) apiPlan() (machine.Plan, error) {
	ready := []string{p.apiReadyFile()}
	inner := func(args ...string) []string { return append([]string{p.Program(), "inner"}, args...) }
	return p.plan(apiName,
		machine.Service{Name: "etcd", Argv: []string{p.programs["etcd"],
			"--data-dir=" + filepath.Join(p.machineDir(apiName), "etcd"), "--log-level=error", "--unsafe-no-fsync",
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380"}},
		machine.Service{Name: "kube-apiserver", Argv: p.apiserverArgv()},
		machine.Service{Name: "forward", Inherit: true, Argv: inner("forward", "--to", "127.0.0.1:6443")},
		machine.Service{Name: "kube-controller-manager", WaitFor: ready, Argv: p.controllerManagerArgv()},
		machine.Service{Name: "kube-scheduler", WaitFor: ready, Argv: []string{p.programs["kube-scheduler"],
			"--kubeconfig=" + p.kubeconfigOf("scheduler"), "--authentication-kubeconfig=" + p.kubeconfigOf("scheduler"),
			"--authorization-kubeconfig=" + p.kubeconfigOf("scheduler"), "--leader-elect=false",
			"--bind-address=127.0.0.1", "--profiling=false", "--v=1"}},
		machine.Service{Name: "volume-provisioner", WaitFor: ready, Argv: inner("provision",
			"--kubeconfig", p.kubeconfigOf("provisioner"), "--machines", p.path("machines"))},
	)
}

func (p *planner) apiserverArgv() []string {
	return []string{p.programs["kube-apiserver"],
		"--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=0.0.0.0", "--secure-port=6443", "--advertise-address=" + apiAddress.String(),
		"--tls-cert-file=" + p.keys.apiserver.Cert, "--tls-private-key-file=" + p.keys.apiserver.Key,
		"--client-ca-file=" + p.keys.ca.Cert,
		"--kubelet-certificate-authority=" + p.keys.ca.Cert,
		"--kubelet-client-certificate=" + p.keys.kubeletClient.Cert, "--kubelet-client-key=" + p.keys.kubeletClient.Key,
		"--kubelet-preferred-address-types=InternalIP",
		// Aggregated APIs: the identity with which the API server calls them, and who may claim it.
		"--requestheader-client-ca-file=" + p.keys.frontProxyCA.Cert, "--requestheader-allowed-names=" + frontProxyName,
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + p.keys.frontProxy.Cert, "--proxy-client-key-file=" + p.keys.frontProxy.Key,
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + p.keys.serviceAccount.Cert,
		"--service-account-signing-key-file=" + p.keys.serviceAccount.Key,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--anonymous-auth=true",
		"--service-cluster-ip-range=" + fabric.Services.String(), "--allow-privileged=true",
		"--profiling=false", "--v=1",
	}
}

func (p *planner) controllerManagerArgv() []string {
	kubeconfig := p.kubeconfigOf("controller-manager")
	return []string{p.programs["kube-controller-manager"],
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--use-service-account-credentials=true", "--service-account-private-key-file=" + p.keys.serviceAccount.Key,
		"--root-ca-file=" + p.keys.ca.Cert,
		"--cluster-signing-cert-file=" + p.keys.ca.Cert, "--cluster-signing-key-file=" + p.keys.ca.Key,
		"--cluster-cidr=" + fabric.Pods.String(), "--allocate-node-cidrs=false",
		// About forty controllers first request a token each. At the default 20 requests per second, that would take five seconds.
		"--kube-api-qps=200", "--kube-api-burst=400",
		"--leader-elect=false", "--bind-address=127.0.0.1", "--profiling=false", "--v=1",
	}
}

func (p *planner) dnsPlan() (machine.Plan, error) {
	corefile := filepath.Join(p.machineDir(dnsName), "Corefile")
	if err := renderTo(corefile, "Corefile", map[string]string{"Kubeconfig": p.kubeconfigOf("coredns")}); err != nil {
		return machine.Plan{}, err
	}
	return p.plan(dnsName, machine.Service{
		Name: "coredns", WaitFor: []string{p.apiReadyFile()}, Argv: []string{p.programs["coredns"], "-conf", corefile},
	})
}

// clientPlan: kube-proxy insists on belonging to a Node, and waits half a minute for one. So the client borrows the first worker's
// name. Only traffic policies that prefer the own node or zone can tell the difference.
func (p *planner) clientPlan() (machine.Plan, error) {
	return p.plan(clientName, p.kubeProxy(p.spec.workers()[0], "client-proxy"))
}

func (p *planner) kubeProxy(node, identity string) machine.Service {
	return machine.Service{Name: "kube-proxy", WaitFor: []string{p.apiReadyFile()}, Argv: []string{p.programs["kube-proxy"],
		"--kubeconfig=" + p.kubeconfigOf(identity), "--hostname-override=" + node, "--proxy-mode=nftables",
		"--cluster-cidr=" + fabric.Pods.String(), "--conntrack-max-per-core=0", "--conntrack-min=0",
		"--metrics-bind-address=127.0.0.1:10249", "--healthz-bind-address=127.0.0.1:10256", "--v=2"}} // logs when it applied changes
}

var zones = []string{"zone-a", "zone-b", "zone-c"}

func (p *planner) workerPlan(name string) (machine.Plan, error) {
	dir := p.machineDir(name)
	port, err := p.spec.port(name)
	if err != nil {
		return machine.Plan{}, err
	}
	group, err := p.cgroup()
	if err != nil {
		return machine.Plan{}, err
	}
	pods := group.Child(name)
	if err := pods.Create(); err != nil {
		return machine.Plan{}, err
	}
	containerd, err := exec.LookPath("containerd")
	if err != nil {
		return machine.Plan{}, fmt.Errorf("find containerd: %w", err)
	}
	data := map[string]any{
		"Dir": dir, "PauseImage": pauseImage, "CNIDir": tool.CNIDir(), "Pods": port.Pods, "Address": port.Address,
		"CA": p.keys.ca.Cert, "Serving": p.keys.kubelets[name], "DNSService": dnsService, "CgroupRoot": pods.Path(),
	}
	config := map[string]string{
		"containerd.toml": "containerd.toml", "kubelet.yaml": "kubelet.yaml", "cni/10-replicatedstore.conflist": "cni.conflist",
	}
	for file, asset := range config {
		if err := renderTo(filepath.Join(dir, file), asset, data); err != nil {
			return machine.Plan{}, err
		}
	}
	const socket = "/run/containerd/containerd.sock"
	plan, err := p.plan(name,
		machine.Service{Name: "containerd", Argv: []string{containerd, "--config", filepath.Join(dir, "containerd.toml")}},
		p.kubeProxy(name, name+"-proxy"),
		machine.Service{Name: "import-images", Once: true, WaitFor: []string{socket},
			Argv: []string{p.Program(), "inner", "import", p.imagesDir()}},
		machine.Service{Name: "kubelet", WaitFor: []string{p.apiReadyFile()}, Argv: []string{p.programs["kubelet"],
			"--config=" + filepath.Join(dir, "kubelet.yaml"), "--kubeconfig=" + p.kubeconfigOf(name),
			"--hostname-override=" + name, "--node-ip=" + port.Address.String(),
			"--node-labels=topology.kubernetes.io/zone=" + zones[int(port.Address.As4()[3]-11)%len(zones)], "--v=1"}},
	)
	plan.Binds = []machine.Bind{
		{Source: filepath.Join(dir, "kubelet"), Target: "/var/lib/kubelet"},
		{Source: filepath.Join(dir, "containerd"), Target: "/var/lib/containerd"},
		{Source: p.volumesDir(name), Target: storage.NodeDir},
	}
	return plan, err
}

// keys are the key files that the plans refer to.
type keys struct {
	ca, apiserver, kubeletClient, serviceAccount pki.Pair
	frontProxyCA, frontProxy                     pki.Pair
	kubelets                                     map[string]pki.Pair
}
