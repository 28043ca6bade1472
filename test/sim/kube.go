package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// APIHost is the API server's host.
const APIHost = "api"

// apiTimeout bounds one request to the API server.
const apiTimeout = 3 * time.Second

// LeaseObject is the store's Lease, as far as the simulation uses it. It is immutable: a write replaces it.
type LeaseObject struct {
	UID     types.UID
	Version int // resourceVersion
	Record  string
	Holder  string
	Seconds int32
	// Renewed stands for renewTime, which is only ever compared for equality; 0: not set.
	Renewed uint64
}

// ResourceVersion returns Version in the API's form.
func (l *LeaseObject) ResourceVersion() string { return strconv.Itoa(l.Version) }

// podObject is a pod. The objects in API.pods are replaced, never changed.
type podObject struct {
	decide.Pod
	name string
}

// claimObject is a volume claim. Its volume is bound to the node of its first use.
type claimObject struct {
	decide.Claim
	name string
	node string
}

// API is the API server of one store's objects. Members and operators reach it only over the network (Client, Cache, Renew). Its
// other methods inject faults, or give the user and the checker direct access.
type API struct {
	// Slow is added to every request. The others are shares: Conflicts of the writes fail with a spurious conflict, Busy of the
	// requests are refused with "too many requests" for no reason, and Lost of the writes happen but are answered with an error.
	Slow                  time.Duration
	Conflicts, Busy, Lost float64

	loop     *Loop
	net      *Net
	version  int // newest resourceVersion
	uids     int
	renewals uint64
	store    *v1alpha1.ReplicatedStore
	lease    *LeaseObject
	pods     map[string]*podObject
	claims   map[string]*claimObject
	wiped    map[types.UID]bool // claims whose volume is gone for good
	route    *decide.Route      // target of the -rw Service
	history  []snapshot
	caches   []*Cache
	recent   [kinds][]versioned
	election election
	renewing map[renewer]int
	changed  func() // notifies the kubelet
}

// snapshot is what etcd held when the record changed.
type snapshot struct {
	store  *v1alpha1.ReplicatedStore
	lease  *LeaseObject
	pods   map[string]*podObject
	claims map[string]*claimObject
}

// maxSnapshots is how many snapshots are kept to restore from.
const maxSnapshots = 12

// NewAPI returns an API server that holds a store and nothing else.
func (n *Net) NewAPI(store *v1alpha1.ReplicatedStore) *API {
	n.Host(APIHost).Boot("api server")
	a := &API{
		loop: n.loop, net: n, pods: map[string]*podObject{}, claims: map[string]*claimObject{},
		wiped: map[types.UID]bool{}, renewing: map[renewer]int{}, changed: func() {},
	}
	a.setStore(store.DeepCopy())
	a.publishObjects()
	a.publish(kindLease, (*LeaseObject)(nil))
	return a
}

// SetDown stops the API server, or starts it again.
func (a *API) SetDown(down bool) {
	h := a.net.Host(APIHost)
	switch {
	case down:
		h.Kill()
	case h.process == nil:
		h.Boot("api server")
	}
}

// Store returns the current store, which the caller must not change.
func (a *API) Store() *v1alpha1.ReplicatedStore { return a.store }

// Lease returns the current Lease, or nil if there is none.
func (a *API) Lease() *LeaseObject { return a.lease }

// RecordText returns the current authority record, or "" if there is none.
func (a *API) RecordText() string {
	if a.lease == nil {
		return ""
	}
	return a.lease.Record
}

// Pods returns the names of the pods, sorted.
func (a *API) Pods() []string { return slices.Sorted(maps.Keys(a.pods)) }

// Pod returns the current state of a pod.
func (a *API) Pod(name string) (decide.Pod, bool) {
	if p := a.pods[name]; p != nil {
		return p.Pod, true
	}
	return decide.Pod{}, false
}

// EditStore applies a change by the user to the store: to its spec or to an annotation.
func (a *API) EditStore(edit func(*v1alpha1.ReplicatedStore)) {
	s := a.store.DeepCopy()
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	edit(s)
	s.Generation++
	a.setStore(s)
}

// EditPod applies a change by the user to an existing pod: to an annotation, or to Failed.
func (a *API) EditPod(name string, edit func(*decide.Pod)) {
	if p := a.pods[name]; p != nil {
		a.setPod(name, edit)
	}
}

// Evict deletes a pod, as a drain does.
func (a *API) Evict(name string) { a.deletePod(name, "") }

// ForceDelete removes a pod's object immediately, whether or not its process has ended.
func (a *API) ForceDelete(name string) {
	delete(a.pods, name)
	a.publishObjects()
}

// RestoreOld restores an older copy of the Lease, or of everything, as restoring an etcd backup would. It reports whether there
// was an older copy. Resource versions still grow.
func (a *API) RestoreOld(everything bool) bool {
	if len(a.history) < 2 {
		return false
	}
	s := a.history[a.loop.Rand.IntN(len(a.history)-1)]
	old := *s.lease
	a.loop.Logf("restored the Lease of version %d", old.Version)
	a.setLease(&old)
	if !everything {
		return true
	}
	a.setStore(s.store.DeepCopy())
	a.pods, a.claims = maps.Clone(s.pods), maps.Clone(s.claims)
	for name, c := range a.claims {
		if a.wiped[c.UID] {
			lost := *c
			lost.Lost = true
			a.claims[name] = &lost
		}
	}
	a.publishObjects()
	return true
}

// DeleteLease removes the Lease, and with it the record.
func (a *API) DeleteLease() {
	a.lease = nil
	a.publish(kindLease, (*LeaseObject)(nil))
}

func (a *API) uid() types.UID {
	a.uids++
	return types.UID(strconv.Itoa(a.uids))
}

func (a *API) setStore(s *v1alpha1.ReplicatedStore) {
	a.version++
	s.ResourceVersion = strconv.Itoa(a.version)
	a.store = s
	a.publish(kindStore, s)
}

func (a *API) setLease(l *LeaseObject) {
	a.version++
	l.Version = a.version
	recorded := a.lease == nil || a.lease.Record != l.Record
	a.lease = l
	a.publish(kindLease, l)
	if recorded {
		if len(a.history) == maxSnapshots {
			a.history = append(a.history[:0], a.history[1:]...)
		}
		a.history = append(a.history, snapshot{a.store, l, maps.Clone(a.pods), maps.Clone(a.claims)})
	}
}

func (a *API) setPod(name string, edit func(*decide.Pod)) {
	p := *a.pods[name]
	edit(&p.Pod)
	a.pods[name] = &p
	a.publishObjects()
}

func (a *API) setClaim(name string, edit func(*claimObject)) {
	c := *a.claims[name]
	edit(&c)
	a.claims[name] = &c
	a.publishObjects()
}

// publishObjects tells the caches and the kubelet that pods or claims have changed.
func (a *API) publishObjects() {
	pods, claims := a.objects()
	a.publish(kindPods, pods)
	a.publish(kindClaims, claims)
	a.changed()
}

// objects returns the current pods and claims.
func (a *API) objects() (map[string]decide.Pod, map[string]decide.Claim) {
	pods, claims := make(map[string]decide.Pod, len(a.pods)), make(map[string]decide.Claim, len(a.claims))
	for name, p := range a.pods {
		pods[name] = p.Pod
	}
	for name, c := range a.claims {
		claims[name] = c.Claim
	}
	return pods, claims
}

func (a *API) deletePod(name string, uid types.UID) {
	if p := a.pods[name]; p != nil && (uid == "" || p.UID == uid) && !p.Deleting {
		a.setPod(name, func(p *decide.Pod) { p.Deleting = true })
	}
}

// Errors of the API server.
var (
	leases = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}
	stores = v1alpha1.Resource("replicatedstores")
	pods   = schema.GroupResource{Resource: "pods"}
	claims = schema.GroupResource{Resource: "persistentvolumeclaims"}

	errChanged  = errors.New("the object has been modified")
	errBusy     = apierrors.NewTooManyRequests("slow down", 1)
	errInternal = apierrors.NewInternalError(errors.New("etcdserver: leader changed"))
)

// request performs one request to the API server from a host.
func (a *API) request(p *Proc, from string, timeout time.Duration, write bool, do func() (any, error)) (any, error) {
	reply, err := a.net.Call(p, from, APIHost, timeout, func(h *Proc) (any, error) {
		h.Sleep(a.loop.Between(300*time.Microsecond, 3*time.Millisecond) + a.Slow)
		if a.loop.Chance(a.Busy) {
			return nil, errBusy
		}
		if write && a.loop.Chance(a.Conflicts) {
			return nil, apierrors.NewConflict(leases, "any", errChanged)
		}
		reply, err := do()
		if write && err == nil && a.loop.Chance(a.Lost) {
			return nil, errInternal
		}
		return reply, err
	})
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	return reply, nil
}
