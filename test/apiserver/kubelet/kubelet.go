// Package kubelet stands in for the kubelet and for the volumes of stores, without containers. Every pod gets its own IP address
// on this machine and a process that the caller starts there, so all members use the same ports.
//
// May import: Kubernetes' clients and the API's names. It knows no data node.
package kubelet

import (
	"context"
	"encoding/binary"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// Process is the process of a pod.
type Process interface {
	// Stop ends the process immediately.
	Stop() error
	// Ready returns nil while the process can do its role's work.
	Ready() error
}

// Pod is what a process needs to know about its pod.
type Pod struct {
	Namespace, Store, StoreUID, Member string
	IP                                 string
	Claim                              types.UID
}

// Options configure a Kubelet. All are required except Namespace, First and Log.
type Options struct {
	Client client.Client
	// Reader lists pods and claims; it may be a cache.
	Reader client.Reader
	// Namespace is the namespace whose pods are run; "" means all namespaces.
	Namespace string
	// First is the address of the first pod in this process; later pods get the following ones. The default is a loopback address.
	First netip.Addr
	// Start starts a pod's process. It is retried after a failure.
	Start func(Pod) (Process, error)
	// Every is the interval between two looks.
	Every time.Duration
	Log   func(format string, args ...any)
}

// hosts counts the addresses handed out by this process.
var hosts atomic.Uint32

// address returns an address that no pod of this process has had.
func (k *Kubelet) address() string {
	first := k.opt.First.As4()
	binary.BigEndian.PutUint32(first[:], binary.BigEndian.Uint32(first[:])+hosts.Add(1)-1)
	return netip.AddrFrom4(first).String()
}

// Kubelet runs pods. Its methods are safe for concurrent use.
type Kubelet struct {
	opt    Options
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	pods map[types.NamespacedName]*running
	down map[types.NamespacedName]bool // members that must not be started
}

type running struct {
	uid     types.UID
	ip      string
	process Process // nil while the container is down
}

// Start runs a Kubelet until Stop.
func Start(o Options) *Kubelet {
	if !o.First.IsValid() {
		o.First = netip.AddrFrom4([4]byte{127, 0, 10, 1})
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	k := &Kubelet{opt: o, cancel: cancel, done: make(chan struct{}), pods: map[types.NamespacedName]*running{}, down: map[types.NamespacedName]bool{}}
	go func() {
		defer close(k.done)
		for ctx.Err() == nil {
			k.sync(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(o.Every):
			}
		}
	}()
	return k
}

// Stop stops the Kubelet and every process.
func (k *Kubelet) Stop() {
	k.cancel()
	<-k.done
	for name, r := range k.pods {
		k.end(name, r)
	}
}

func (k *Kubelet) end(name types.NamespacedName, r *running) {
	if r.process == nil {
		return
	}
	if err := r.process.Stop(); err != nil {
		k.opt.Log("stop %s: %v", name, err)
	}
	r.process = nil
}

// sync is one look: it stops the processes of pods that are gone, runs the others and reports their state.
func (k *Kubelet) sync(ctx context.Context) {
	pods := &corev1.PodList{}
	if err := k.opt.Reader.List(ctx, pods, client.InNamespace(k.opt.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	there := map[types.UID]bool{}
	for i := range pods.Items {
		there[pods.Items[i].UID] = true
	}
	for name, r := range k.pods {
		if !there[r.uid] {
			k.end(name, r)
			delete(k.pods, name)
		}
	}
	for i := range pods.Items {
		k.run(ctx, &pods.Items[i])
	}
	k.releaseClaims(ctx)
}

// run starts the pod's process if it should run and does not, and reports its state.
func (k *Kubelet) run(ctx context.Context, pod *corev1.Pod) {
	name := client.ObjectKeyFromObject(pod)
	r := k.pods[name]
	if r == nil {
		r = &running{uid: pod.UID, ip: k.address()}
		k.pods[name] = r
	}
	if r.process == nil && !k.down[name] {
		claim := &corev1.PersistentVolumeClaim{}
		if err := k.opt.Reader.Get(ctx, name, claim); err != nil {
			return
		}
		p, err := k.opt.Start(Pod{
			Namespace: pod.Namespace, Store: pod.Labels[v1alpha1.LabelStore], StoreUID: uidOf(pod), Member: pod.Name, IP: r.ip, Claim: claim.UID,
		})
		if err != nil {
			k.opt.Log("start %s: %v", name, err)
			return
		}
		r.process = p
	}
	k.report(ctx, pod, r)
}

// uidOf returns the UID that the pod's own arguments state.
func uidOf(pod *corev1.Pod) string {
	for _, a := range pod.Spec.Containers[0].Args {
		if uid, ok := strings.CutPrefix(a, "--store-uid="); ok {
			return uid
		}
	}
	return ""
}

func (k *Kubelet) report(ctx context.Context, pod *corev1.Pod, r *running) {
	ready := corev1.ConditionFalse
	if r.process != nil && r.process.Ready() == nil {
		ready = corev1.ConditionTrue
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == ready && pod.Status.PodIP == r.ip {
			return
		}
	}
	next := pod.DeepCopy()
	next.Status.Phase, next.Status.PodIP = corev1.PodRunning, r.ip
	next.Status.PodIPs = []corev1.PodIP{{IP: r.ip}}
	next.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	_ = k.opt.Client.Status().Patch(ctx, next, client.MergeFrom(pod)) // the next look retries
}

// releaseClaims stands in for the protection of claims in use: a claim being deleted goes away once no pod uses it.
func (k *Kubelet) releaseClaims(ctx context.Context) {
	claims := &corev1.PersistentVolumeClaimList{}
	if err := k.opt.Reader.List(ctx, claims, client.InNamespace(k.opt.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	for i := range claims.Items {
		c := &claims.Items[i]
		if c.DeletionTimestamp == nil || len(c.Finalizers) == 0 || k.pods[client.ObjectKeyFromObject(c)] != nil {
			continue
		}
		next := c.DeepCopy()
		next.Finalizers = nil
		_ = k.opt.Client.Patch(ctx, next, client.MergeFrom(c))
	}
}

// Kill kills a member's process and keeps it down until Revive.
func (k *Kubelet) Kill(member types.NamespacedName) {
	if r := k.takeDown(member); r != nil {
		k.end(member, r) // without the lock, since many are killed at once
	}
}

// takeDown keeps a member down and returns its running process, if any.
func (k *Kubelet) takeDown(member types.NamespacedName) *running {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down[member] = true
	r := k.pods[member]
	if r == nil || r.process == nil {
		return nil
	}
	gone := *r
	r.process = nil
	return &gone
}

// Revive lets a member's process run again.
func (k *Kubelet) Revive(member types.NamespacedName) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.down, member)
}

// Running returns a member's process and its address, or nil if it does not run.
func (k *Kubelet) Running(member types.NamespacedName) (Process, string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r := k.pods[member]; r != nil && r.process != nil {
		return r.process, r.ip
	}
	return nil, ""
}
