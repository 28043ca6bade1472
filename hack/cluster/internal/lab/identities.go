package lab

import (
	"fmt"
	"os"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/pki"
)

// frontProxyName is the API server's user name towards aggregated APIs, which have their own authority.
const frontProxyName = "front-proxy-client"

// inside returns the API server's URL for machines of the cluster.
func inside() string { return fmt.Sprintf("https://%s:6443", apiAddress) }

// issueKeys creates the authority, every certificate, and every component's kubeconfig.
func (l *Lab) issueKeys(s Spec, now time.Time) (keys, error) {
	ca, err := pki.NewAuthority(l.path("pki"), now)
	if err != nil {
		return keys{}, err
	}
	k := keys{ca: ca.Files(), kubelets: map[string]pki.Pair{}}
	if k.apiserver, err = ca.Issue(pki.Subject{File: "apiserver", Name: "kube-apiserver", Hosts: []string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost",
		"127.0.0.1", apiAddress.String(), apiService.String(),
	}}); err != nil {
		return keys{}, err
	}
	k.kubeletClient, err = ca.Issue(pki.Subject{File: "apiserver-kubelet-client", Name: "kube-apiserver-kubelet-client"})
	if err != nil {
		return keys{}, err
	}
	if k.serviceAccount, err = ca.SigningKey(); err != nil {
		return keys{}, err
	}
	front, err := pki.NewAuthority(l.path("pki", "front-proxy"), now)
	if err != nil {
		return keys{}, err
	}
	k.frontProxyCA = front.Files()
	if k.frontProxy, err = front.Issue(pki.Subject{File: frontProxyName, Name: frontProxyName}); err != nil {
		return keys{}, err
	}
	for _, name := range s.workers() {
		port, err := s.port(name)
		if err != nil {
			return keys{}, err
		}
		k.kubelets[name], err = ca.Issue(pki.Subject{
			File: name + "-serving", Name: "system:node:" + name, Groups: []string{"system:nodes"},
			Hosts: []string{name, port.Address.String()},
		})
		if err != nil {
			return keys{}, err
		}
	}
	return k, l.writeKubeconfigs(ca, s)
}

func (l *Lab) writeKubeconfigs(ca *pki.Authority, s Spec) error {
	const onAPI = "https://127.0.0.1:6443"
	admin := pki.Subject{File: "admin", Name: "kubernetes-admin", Groups: []string{"system:masters"}}
	configs := []struct {
		path, server string
		subject      pki.Subject
	}{
		{l.Kubeconfig(), fmt.Sprintf("https://127.0.0.1:%d", s.Port), admin},
		{l.kubeconfigOf("admin-inside"), inside(), admin},
		{l.kubeconfigOf("controller-manager"), onAPI, pki.Subject{File: "controller-manager", Name: "system:kube-controller-manager"}},
		{l.kubeconfigOf("scheduler"), onAPI, pki.Subject{File: "scheduler", Name: "system:kube-scheduler"}},
		{l.kubeconfigOf("provisioner"), onAPI, pki.Subject{File: "provisioner", Name: "system:volume-provisioner"}},
		{l.kubeconfigOf("coredns"), inside(), pki.Subject{File: "coredns", Name: "system:coredns"}},
		{l.kubeconfigOf("client-proxy"), inside(), pki.Subject{File: "client-proxy", Name: "system:kube-proxy"}},
	}
	for _, c := range configs {
		if err := ca.Kubeconfig(c.path, c.server, c.subject); err != nil {
			return err
		}
	}
	for _, name := range s.workers() {
		node := pki.Subject{File: name, Name: "system:node:" + name, Groups: []string{"system:nodes"}}
		if err := ca.Kubeconfig(l.kubeconfigOf(name), inside(), node); err != nil {
			return err
		}
		proxy := pki.Subject{File: name + "-proxy", Name: "system:kube-proxy"}
		if err := ca.Kubeconfig(l.kubeconfigOf(name+"-proxy"), inside(), proxy); err != nil {
			return err
		}
	}
	return os.Chmod(l.Kubeconfig(), 0o600)
}
