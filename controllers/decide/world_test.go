package decide_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
)

// world is a store in a simulated cluster: the API objects, the kubelet's work and real Replicas, under one clock.
type world struct {
	t       *testing.T
	cluster *fake.Cluster
	store   *v1alpha1.ReplicatedStore

	// the Lease
	version int // resourceVersion
	record  string
	holder  string
	renewed int // counts renewals

	route  *decide.Route // of the -rw Service
	pods   map[string]*decide.Pod
	claims map[string]*decide.Claim
	uid    int
	hash   string
	trial  decide.Trial // the API server's answer to a pod that is tried

	refuses string // why no member can be made

	// stay holds the members whose pods stay when they are deleted, with what is wrong with their nodes.
	stay map[string]string

	// stranded members do not reach the API server.
	stranded map[string]bool

	ops   []*operator
	lossy bool // a failover was allowed to lose writes
	log   []string
}

func newWorld(t *testing.T, replicas int, synchronous int32, changes ...func(*v1alpha1.ReplicatedStoreSpec)) *world {
	w := &world{
		t: t, cluster: fake.NewCluster("orders"), pods: map[string]*decide.Pod{}, claims: map[string]*decide.Claim{}, hash: "v1",
		store: &v1alpha1.ReplicatedStore{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders", Generation: 1, Annotations: map[string]string{}},
		},
	}
	w.store.Spec.Replicas = new(int32(replicas))
	w.store.Spec.Replication.Synchronous.Number = new(synchronous)
	for _, change := range changes {
		change(&w.store.Spec)
	}
	w.ops = []*operator{newOperator(w, "a")}
	return w
}

func manual(s *v1alpha1.ReplicatedStoreSpec) { s.Failover.Mode = v1alpha1.FailoverManual }
func allow(s *v1alpha1.ReplicatedStoreSpec)  { s.Failover.DataLoss = v1alpha1.DataLossAllow }
func preferred(s *v1alpha1.ReplicatedStoreSpec) {
	s.Replication.Synchronous.Durability = v1alpha1.DurabilityPreferred
}
func bounded(n int64) func(*v1alpha1.ReplicatedStoreSpec) {
	return func(s *v1alpha1.ReplicatedStoreSpec) {
		s.Failover.DataLoss, s.Failover.MaxLostWrites = v1alpha1.DataLossBounded, &n
	}
}

func (w *world) logf(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%8.3fs ", w.cluster.Now().Sub(time.Unix(1_000_000, 0)).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) tail() string { return strings.Join(w.log[max(0, len(w.log)-80):], "\n") }

func (w *world) rec() decide.Record {
	w.t.Helper()
	r, err := decide.DecodeRecord(w.record)
	if err != nil {
		w.t.Fatalf("record: %v\n%s", err, w.tail())
	}
	return *r
}

// create makes a claim and a pod; the kubelet starts it at once.
func (w *world) create(name string) {
	if w.pods[name] != nil {
		return
	}
	if w.claims[name] == nil {
		w.uid++
		storage := w.store.Spec.Storage
		w.claims[name] = &decide.Claim{UID: types.UID(fmt.Sprint("claim-", w.uid)), Class: storage.StorageClassName, Requested: storage.Size}
	}
	w.uid++
	w.pods[name] = &decide.Pod{UID: types.UID(fmt.Sprint("pod-", w.uid)), IP: name, Ready: true, SpecHash: w.hash, Restarted: w.store.Annotations[v1alpha1.AnnotationRestart]}
	w.cluster.Start(name, name)
}

// remove deletes the pod together with its process.
func (w *world) remove(name string, uid types.UID) {
	if p := w.pods[name]; p != nil && (uid == "" || p.UID == uid) {
		w.cluster.Vanish(name)
		if trouble, stays := w.stay[name]; stays {
			p.Deleting, p.Ready, p.NodeTrouble = true, false, trouble
			return
		}
		delete(w.pods, name)
	}
	w.collect()
}

func (w *world) deleteClaim(name string, uid types.UID) {
	if c := w.claims[name]; c != nil && c.UID == uid {
		c.Deleting = true
	}
	w.collect()
}

// collect removes claims that are being deleted and that no pod uses.
func (w *world) collect() {
	for name, c := range w.claims {
		if c.Deleting && w.pods[name] == nil {
			w.cluster.Wipe(name)
			delete(w.claims, name)
		}
	}
}

// kubelet restarts containers that died.
func (w *world) kubelet() {
	for name := range w.pods {
		if !w.cluster.Running(name) {
			w.cluster.Start(name, name)
		}
	}
}

// renew lets the leader that the record names renew the Lease.
func (w *world) renew() {
	r, err := decide.DecodeRecord(w.record)
	if err != nil || r.Leader.Member == "" || w.stranded[r.Leader.Member] {
		return
	}
	if w.cluster.Renew(r.Leader.Member) {
		w.holder = r.Leader.Member
		w.renewed++
		w.version++
	}
}

// run lets time pass with one operator, working members, and no new faults.
func (w *world) run(d time.Duration, each ...func()) {
	w.t.Helper()
	for end := w.cluster.Now().Add(d); w.cluster.Now().Before(end); {
		w.cluster.Settle()
		w.renew()
		for _, f := range each {
			f()
		}
		w.ops[0].reconcile()
	}
	w.check()
}

// until runs until done, or fails.
func (w *world) until(what string, done func() bool, each ...func()) {
	w.t.Helper()
	for range 600 {
		if done() {
			return
		}
		w.run(120*time.Millisecond, each...)
	}
	w.t.Fatalf("never: %s\nrecord: %s\nplan: %v %s %s\n%s", what, w.record, w.ops[0].plan.State, w.ops[0].plan.Reason, w.ops[0].plan.Message, w.tail())
}

func (w *world) untilState(s decide.State, each ...func()) {
	w.t.Helper()
	w.until("state "+s.String(), func() bool { return w.ops[0].plan.State == s }, each...)
}

// started returns a world in which the store is up and some writes are acknowledged.
func started(t *testing.T, replicas int, synchronous int32, changes ...func(*v1alpha1.ReplicatedStoreSpec)) *world {
	t.Helper()
	w := newWorld(t, replicas, synchronous, changes...)
	w.untilState(decide.Stable)
	for range 5 {
		w.write()
	}
	return w
}

// write appends a write at the leader, and lets it replicate.
func (w *world) write() {
	w.t.Helper()
	leader := w.cluster.Writable()
	if leader == "" || !w.cluster.Write(leader) {
		w.t.Fatalf("nobody takes a write\nrecord: %s\n%s", w.record, w.tail())
	}
	w.cluster.Settle()
}

// check asserts the invariants and, unless loss was accepted, that a stable leader holds everything acknowledged.
func (w *world) check() {
	w.t.Helper()
	if w.record != "" {
		if r, err := decide.DecodeRecord(w.record); err == nil && r.WritesLost != "" && r.WritesLost != v1alpha1.LostNone {
			w.lossy = true
		}
	}
	if b := w.cluster.Broken(w.lossy); len(b) > 0 {
		w.t.Fatalf("broken: %s\n%s", strings.Join(b, "\n"), w.tail())
	}
	if w.record == "" {
		return
	}
	r := w.rec()
	if r.Phase == decide.PhaseStable && !w.lossy {
		if missing := w.cluster.Missing(r.Leader.Member); len(missing) > 0 {
			w.t.Fatalf("%s leads epoch %d and lacks acknowledged writes %v\n%s", r.Leader.Member, r.Epoch, missing, w.tail())
		}
	}
	// The new leader is labelled before the fenced one loses its label, and two operators may each be at that point.
	if n := w.labelledLeaders(); n > 3 {
		w.t.Fatalf("%d pods are labelled leader\n%s", n, w.tail())
	}
}

func (w *world) labelledLeaders() (n int) {
	for _, p := range w.pods {
		if p.Role == v1alpha1.RoleLabelLeader {
			n++
		}
	}
	return n
}

func (w *world) podNames() string { return strings.Join(slices.Sorted(maps.Keys(w.pods)), " ") }

func (w *world) condition(kind string) metav1.Condition {
	w.t.Helper()
	for _, c := range w.store.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	w.t.Fatalf("condition %s is not set", kind)
	return metav1.Condition{}
}
