package operator_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/node"
)

// hosts hands out loopback addresses: every pod gets one of its own, so that every member has the same ports.
var hosts atomic.Int32

// kubelet runs the pods of one namespace as nodes in this process, and gives claims their data directories.
type kubelet struct {
	namespace string
	dir       string
	leases    *coordinationclient.CoordinationV1Client
	cancel    context.CancelFunc
	done      chan struct{}

	mu   sync.Mutex
	pods map[types.UID]*runningPod
	down map[string]bool // members that are not started
}

type runningPod struct {
	name string
	ip   string
	node *node.Node // nil while the container is down
}

func startKubelet(namespace string) *kubelet {
	GinkgoHelper()
	leases, err := coordinationclient.NewForConfig(config)
	Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	k := &kubelet{
		namespace: namespace, dir: GinkgoT().TempDir(), leases: leases, cancel: cancel, done: make(chan struct{}),
		pods: map[types.UID]*runningPod{}, down: map[string]bool{},
	}
	go func() {
		defer close(k.done)
		for ctx.Err() == nil {
			k.sync(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return k
}

func (k *kubelet) stop() {
	k.cancel()
	<-k.done
	for _, p := range k.pods {
		p.stop()
	}
}

func (p *runningPod) stop() {
	if p.node != nil {
		_ = p.node.Stop()
		p.node = nil
	}
}

// sync is one look: pods that are gone stop, others run and report.
func (k *kubelet) sync(ctx context.Context) {
	pods := &corev1.PodList{}
	if err := k8s.List(ctx, pods, client.InNamespace(k.namespace)); err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	seen := map[types.UID]bool{}
	for i := range pods.Items {
		seen[pods.Items[i].UID] = true
		k.run(ctx, &pods.Items[i])
	}
	for uid, p := range k.pods {
		if !seen[uid] {
			p.stop()
			delete(k.pods, uid)
		}
	}
	k.releaseClaims(ctx)
}

// run starts the pod's process, if it should run and does not, and reports what it is.
func (k *kubelet) run(ctx context.Context, pod *corev1.Pod) {
	p := k.pods[pod.UID]
	if p == nil {
		for _, o := range k.pods {
			if o.name == pod.Name {
				return // the pod before is still stopping
			}
		}
		p = &runningPod{name: pod.Name, ip: fmt.Sprintf("127.0.%d.%d", 10+hosts.Load()/250, 1+hosts.Add(1)%250)}
		k.pods[pod.UID] = p
	}
	if p.node == nil && !k.down[pod.Name] {
		claim := &corev1.PersistentVolumeClaim{}
		if err := k8s.Get(ctx, client.ObjectKeyFromObject(pod), claim); err != nil {
			return
		}
		n, err := node.Start(context.Background(), node.Options{
			Data: filepath.Join(k.dir, string(claim.UID)), Managed: true,
			Listen: p.ip + ":6379", PeerListen: p.ip + ":6380", ControlListen: p.ip + ":6381", LeaderListen: p.ip + ":6382",
			Store: pod.Labels[api.LabelStore], StoreUID: uidOf(pod), Member: pod.Name, Memory: 32 << 20, WriteTimeout: 10 * time.Second, Log: logr.Discard(),
			LeaseName: pod.Labels[api.LabelStore], LeaseClient: k.leases.Leases(k.namespace), Version: "test",
		})
		if err != nil {
			GinkgoWriter.Printf("start %s: %v\n", pod.Name, err)
			return
		}
		p.node = n
	}
	k.report(ctx, pod, p)
}

// uidOf is what the pod's own arguments say.
func uidOf(pod *corev1.Pod) string {
	for _, a := range pod.Spec.Containers[0].Args {
		if uid, ok := strings.CutPrefix(a, "--store-uid="); ok {
			return uid
		}
	}
	return ""
}

func (k *kubelet) report(ctx context.Context, pod *corev1.Pod, p *runningPod) {
	ready := corev1.ConditionFalse
	if p.node != nil && p.node.Ready() == nil {
		ready = corev1.ConditionTrue
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == ready && pod.Status.PodIP == p.ip {
			return
		}
	}
	old := pod.DeepCopy()
	pod.Status.Phase, pod.Status.PodIP = corev1.PodRunning, p.ip
	pod.Status.PodIPs = []corev1.PodIP{{IP: p.ip}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	_ = k8s.Status().Patch(ctx, pod, client.MergeFrom(old))
}

// releaseClaims plays the protection of claims in use: one that is being deleted goes when no pod uses it.
func (k *kubelet) releaseClaims(ctx context.Context) {
	claims := &corev1.PersistentVolumeClaimList{}
	if err := k8s.List(ctx, claims, client.InNamespace(k.namespace)); err != nil {
		return
	}
	for i := range claims.Items {
		c := &claims.Items[i]
		inUse := false
		for _, p := range k.pods {
			inUse = inUse || p.name == c.Name
		}
		if c.DeletionTimestamp != nil && !inUse && len(c.Finalizers) > 0 {
			old := c.DeepCopy()
			c.Finalizers = nil
			_ = k8s.Patch(ctx, c, client.MergeFrom(old))
		}
	}
}

// kill ends a member's process, and keeps it down until revive.
func (k *kubelet) kill(member string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down[member] = true
	for _, p := range k.pods {
		if p.name == member {
			p.stop()
		}
	}
}

func (k *kubelet) revive(member string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.down, member)
}

// address of a member's client port; "" while it does not run.
func (k *kubelet) address(member string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.pods {
		if p.name == member && p.node != nil {
			return p.ip + ":6379"
		}
	}
	return ""
}

// takesWrites asks the member itself.
func (k *kubelet) takesWrites(ctx context.Context, member string) bool {
	k.mu.Lock()
	var n *node.Node
	for _, p := range k.pods {
		if p.name == member && p.node != nil {
			n = p.node
		}
	}
	k.mu.Unlock()
	if n == nil {
		return false
	}
	status, err := n.Status(ctx)
	return err == nil && status.Writable
}
