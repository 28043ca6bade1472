package operator_test

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/node"
	"github.com/replicatedstore/replicatedstore/test/apiserver/kubelet"
)

// nodes runs the pods of one namespace as nodes in this process, and provides their claims' data directories.
type nodes struct {
	*kubelet.Kubelet
	namespace string
}

func startNodes(namespace string) *nodes {
	GinkgoHelper()
	leases, err := coordinationclient.NewForConfig(config)
	Expect(err).NotTo(HaveOccurred())
	dir := GinkgoT().TempDir()
	return &nodes{namespace: namespace, Kubelet: kubelet.Start(kubelet.Options{
		Client: k8s, Reader: k8s, Namespace: namespace, Every: 50 * time.Millisecond, Log: func(format string, args ...any) {
			GinkgoWriter.Printf(format+"\n", args...)
		},
		Start: func(p kubelet.Pod) (kubelet.Process, error) {
			return node.Start(context.Background(), node.Options{
				Data: filepath.Join(dir, string(p.Claim)), Managed: true,
				Listen: p.IP + ":6379", PeerListen: p.IP + ":6380", ControlListen: p.IP + ":6381", LeaderListen: fmt.Sprintf("%s:%d", p.IP, v1alpha1.PortLeader(types.UID(p.StoreUID))),
				Store: p.Store, StoreUID: p.StoreUID, Member: p.Member, Memory: 32 << 20, WriteTimeout: 10 * time.Second, Log: logr.Discard(),
				LeaseName: p.Store, LeaseClient: leases.Leases(namespace), Version: "test",
			})
		},
	})}
}

func (k *nodes) key(member string) types.NamespacedName {
	return types.NamespacedName{Namespace: k.namespace, Name: member}
}

// kill kills a member's process and keeps it down until revive.
func (k *nodes) kill(member string)   { k.Kill(k.key(member)) }
func (k *nodes) revive(member string) { k.Revive(k.key(member)) }

// address returns a member's client address, or "" if it is not running.
func (k *nodes) address(member string) string {
	if _, ip := k.Running(k.key(member)); ip != "" {
		return ip + ":6379"
	}
	return ""
}

// takesWrites asks the member itself.
func (k *nodes) takesWrites(ctx context.Context, member string) bool {
	p, _ := k.Running(k.key(member))
	if p == nil {
		return false
	}
	status, err := p.(*node.Node).Status(ctx)
	return err == nil && status.Writable
}
