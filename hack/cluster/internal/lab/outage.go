package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/machine"
)

// APIDown stops the API server and etcd: connections stay open, but nobody answers.
func (l *Lab) APIDown() error { return l.signalAPI(unix.SIGSTOP) }

// APIUp resumes what APIDown stopped.
func (l *Lab) APIUp() error { return l.signalAPI(unix.SIGCONT) }

func (l *Lab) signalAPI(signal unix.Signal) error {
	return l.change(func(Spec) error {
		r, err := l.record(apiName)
		if err != nil {
			return err
		}
		pids, err := machine.HostPids(l.machineDir(apiName), r)
		if err != nil {
			return err
		}
		for _, service := range []string{"kube-apiserver", "etcd"} {
			pid, ok := pids[service]
			if !ok {
				return fmt.Errorf("signal %s: it does not run", service)
			}
			if err := unix.Kill(pid, signal); err != nil {
				return fmt.Errorf("signal %s: %w", service, err)
			}
		}
		return nil
	})
}

// etcdDir and savedDir are the directories of etcd's data and of its copies, by name.
func (l *Lab) etcdDir() string { return filepath.Join(l.machineDir(apiName), "etcd") }
func (l *Lab) savedDir(name string) string {
	return filepath.Join(l.machineDir(apiName), "saved", name)
}

// SaveEtcd saves a copy of etcd's data. The API server and etcd are stopped meanwhile.
func (l *Lab) SaveEtcd(name string) error {
	if err := l.APIDown(); err != nil {
		return err
	}
	err := copyTree(l.etcdDir(), l.savedDir(name))
	return errors.Join(err, l.APIUp())
}

// RestoreEtcd replaces etcd's data with a saved copy, and restarts everything that remembers newer state, as Kubernetes requires
// when a cluster is restored. Pods keep running.
func (l *Lab) RestoreEtcd(name string) error {
	if _, err := os.Stat(l.savedDir(name)); err != nil {
		return fmt.Errorf("restore etcd: there is no copy %q", name)
	}
	if err := l.APIDown(); err != nil {
		return err
	}
	if err := os.RemoveAll(l.etcdDir()); err != nil {
		return errors.Join(fmt.Errorf("restore etcd: %w", err), l.APIUp())
	}
	if err := copyTree(l.savedDir(name), l.etcdDir()); err != nil {
		return errors.Join(err, l.APIUp())
	}
	return l.change(func(s Spec) error {
		errs := []error{l.restart(apiName, "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "volume-provisioner"),
			l.restart(dnsName, "coredns"), l.restart(clientName, "kube-proxy")}
		for _, w := range s.workers() {
			if _, err := l.record(w); err == nil { // a worker that is off starts afresh anyway
				errs = append(errs, l.restart(w, "kubelet", "kube-proxy"))
			}
		}
		return errors.Join(errs...)
	})
}

// restart kills services of a machine; its init restarts them.
func (l *Lab) restart(name string, services ...string) error {
	r, err := l.record(name)
	if err != nil {
		return err
	}
	pids, err := machine.HostPids(l.machineDir(name), r)
	if err != nil {
		return err
	}
	for _, s := range services {
		if pid, ok := pids[s]; ok {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("restart %s on %s: %w", s, name, err)
			}
		}
	}
	return nil
}

func copyTree(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	if err := os.RemoveAll(to); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, strings.TrimSpace(string(out)))
	}
	return nil
}
