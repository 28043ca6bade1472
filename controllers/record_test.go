package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/controllers/render"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// objects is what one reader sees of a store's objects.
type objects struct {
	client.Client
	lease  *coordinationv1.Lease // nil: there is none
	pods   []corev1.Pod
	claims []corev1.PersistentVolumeClaim
	route  *discoveryv1.EndpointSlice
	store  *v1alpha1.ReplicatedStore // nil: nobody is to get it
	// reads counts Leases got; before is called with each.
	reads, lists int
	before       func()
}

func (o *objects) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if store, ok := into.(*v1alpha1.ReplicatedStore); ok && o.store != nil {
		o.store.DeepCopyInto(store)
		return nil
	}
	lease, ok := into.(*coordinationv1.Lease)
	if _, child := into.(*metav1.PartialObjectMetadata); child {
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	if !ok {
		return fmt.Errorf("no %T here", into)
	}
	if o.reads++; o.before != nil {
		o.before()
	}
	if o.lease == nil {
		return apierrors.NewNotFound(coordinationv1.Resource("leases"), key.Name)
	}
	o.lease.DeepCopyInto(lease)
	return nil
}

func (o *objects) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	switch list := into.(type) {
	case *corev1.PodList:
		o.lists++
		list.Items = slices.Clone(o.pods)
	case *discoveryv1.EndpointSliceList:
		if o.route != nil {
			list.Items = []discoveryv1.EndpointSlice{*o.route}
		}
	case *corev1.PersistentVolumeClaimList:
		list.Items = slices.Clone(o.claims)
	default:
		return fmt.Errorf("no %T here", into)
	}
	return nil
}

// members answer for the members, by name.
type members struct {
	nodeclient.Client
	is map[string]wire.Status
}

func (m members) Status(_ context.Context, to nodeclient.Target) (wire.Status, error) {
	s, ok := m.is[to.Member]
	if !ok {
		return wire.Status{}, syscall.ECONNREFUSED
	}
	return s, nil
}

// scene is a store of three members, led by orders-1, as one operator sees it: by its cache, and uncached.
type scene struct {
	*Reconciler
	memory        *memory
	store         *v1alpha1.ReplicatedStore
	cache, server *objects
	members       members
	version       int
}

func voterOf(member string) replication.Voter {
	return replication.Voter{Member: member, Incarnation: member + "-data"}
}

// led is the record of a leadership.
func led(epoch replication.Epoch, phase decide.Phase, leader string) decide.Record {
	r := decide.Record{Epoch: epoch, Phase: phase, Leader: voterOf(leader), ConfigVersion: uint64(epoch), Stores: []types.UID{"store"}}
	r.Kind, r.WritesLost = v1alpha1.KindFailover, v1alpha1.LostNone
	rule := replication.Rule{K: 1}
	for n := range 3 {
		if m := v1alpha1.MemberName("orders", n+1); m != leader {
			rule.Voters = append(rule.Voters, voterOf(m))
		}
	}
	r.Rules = []replication.Rule{rule}
	return r
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{
		memory: newMemory(), cache: &objects{}, server: &objects{}, members: members{is: map[string]wire.Status{}},
		store: &v1alpha1.ReplicatedStore{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders", UID: "store"}},
	}
	s.Reconciler = &Reconciler{
		Client: s.cache, Reader: s.server, Nodes: s.members, Clock: clock.RealClock{}, Settings: decide.DefaultSettings(),
		watcher: nodeclient.NewWatcher(s.members, 0, func(types.NamespacedName) {}),
	}
	for n := range 3 {
		s.cache.pods = append(s.cache.pods, s.podOf(n+1))
	}
	s.server.pods, s.server.store = s.cache.pods, s.store
	s.record(led(1, decide.PhaseStable, "orders-1"), s.cache, s.server)
	s.lead(1, "orders-1")
	return s
}

// podOf is the pod of a member, which is as it should be.
func (s *scene) podOf(ordinal int) corev1.Pod {
	name := v1alpha1.MemberName("orders", ordinal)
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: types.UID(name), Labels: map[string]string{}, Annotations: map[string]string{v1alpha1.AnnotationSpecHash: render.SpecHash(s.store)},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(s.store, v1alpha1.GroupVersionKind())},
	}}
	pod.Status.PodIP = fmt.Sprintf("192.0.2.%d", ordinal)
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	return pod
}

// record has some readers see a record.
func (s *scene) record(r decide.Record, readers ...*objects) {
	s.version++
	for _, o := range readers {
		o.lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
			Name: "orders", UID: "lease", ResourceVersion: fmt.Sprint(s.version), Annotations: map[string]string{v1alpha1.AnnotationRecord: r.Encode()},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(s.store, v1alpha1.GroupVersionKind())},
		}}
	}
}

// lead has the members say who leads, and pods and route be as that asks for.
func (s *scene) lead(epoch replication.Epoch, leader string) {
	for i := range s.cache.pods {
		pod := &s.cache.pods[i]
		st := wire.Status{Store: "orders", StoreUID: "store", Member: pod.Name, Incarnation: pod.Name + "-data", Promised: epoch, Epoch: epoch, Leader: leader}
		st.Durable = replication.Mark{Epoch: epoch, Position: 7}
		st.Last, st.ConfigVersion, st.Commit, st.Applied = st.Durable, uint64(epoch), 7, 7
		st.Role, st.Contact = wire.RoleFollower, &wire.Contact{Connected: true}
		pod.Labels[v1alpha1.LabelRole] = v1alpha1.RoleLabelFollower
		if pod.Name == leader {
			st.Role, st.Writable, st.Contact, st.CommitCovered, st.Rules = wire.RoleLeader, true, nil, true, led(epoch, decide.PhaseStable, leader).Rules
			st.Followers = map[string]wire.FollowerView{}
			for _, v := range st.Rules[0].Voters {
				st.Followers[v.Member] = wire.FollowerView{Incarnation: v.Incarnation, Durable: 7, Applied: 7, CaughtUp: true, Live: true}
			}
			pod.Labels[v1alpha1.LabelRole] = v1alpha1.RoleLabelLeader
			s.cache.route = &discoveryv1.EndpointSlice{Endpoints: []discoveryv1.Endpoint{{
				Addresses: []string{pod.Status.PodIP}, TargetRef: &corev1.ObjectReference{UID: pod.UID},
			}}}
		}
		s.members.is[pod.Name] = st
	}
}

// look is the first look of a pass.
func (s *scene) look(t *testing.T) decide.Plan {
	t.Helper()
	p := &pass{Reconciler: s.Reconciler, memory: s.memory, store: s.store, began: s.Clock.Now()}
	plan, err := p.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func (s *scene) settled(t *testing.T) {
	t.Helper()
	if plan := s.look(t); plan.State != decide.Stable || len(plan.Actions) > 0 {
		t.Fatalf("%v: %s: %v", plan.Outcome(), plan.Message, plan.Actions)
	}
	s.cache.reads, s.server.reads, s.server.lists = 0, 0, 0
}

// A store in which nothing happens costs no request to the API server, however often it is looked at.
func TestAnIdleStoreCostsNoRequest(t *testing.T) {
	s := newScene(t)
	s.settled(t)
	s.server.store = nil // reading it would fail
	for range 10 {
		if plan := s.look(t); plan.State != decide.Stable {
			t.Fatalf("%v: %s", plan.Outcome(), plan.Message)
		}
	}
	if s.server.reads > 0 || s.server.lists > 0 {
		t.Errorf("%d Leases and %d lists read", s.server.reads, s.server.lists)
	}
}

// The cache still shows an old leadership, whose leader is gone: nothing is done about it, for the record itself tells of another.
func TestAnOldRecordInTheCacheIsNotActedOn(t *testing.T) {
	s := newScene(t)
	s.settled(t)
	s.record(led(2, decide.PhaseStable, "orders-2"), s.server)
	s.lead(2, "orders-2")
	delete(s.members.is, "orders-1")
	plan := s.look(t)
	if plan.State != decide.Settling || len(plan.Actions) > 0 || plan.Status.Epoch != 2 || s.server.reads == 0 {
		t.Errorf("%v: %s: %v; epoch %d, %d reads", plan.Outcome(), plan.Message, plan.Actions, plan.Status.Epoch, s.server.reads)
	}
}

// A lost leader is replaced by what the record itself says, also where the cache says the same.
func TestTheRecordIsReadBeforeALeaderIsReplaced(t *testing.T) {
	s := newScene(t)
	s.settled(t)
	s.record(led(1, decide.PhaseStable, "orders-1"), s.server) // another version of the same
	for name, st := range s.members.is {
		st.Contact = &wire.Contact{Refused: true}
		s.members.is[name] = st
	}
	delete(s.members.is, "orders-1")
	plan := s.look(t)
	i := slices.IndexFunc(plan.Actions, func(a decide.Action) bool { _, ok := a.(decide.WriteRecord); return ok })
	if i < 0 || plan.Actions[i].(decide.WriteRecord).ResourceVersion != s.server.lease.ResourceVersion {
		t.Errorf("%v: %s: %v", plan.Outcome(), plan.Message, plan.Actions)
	}
}

// Two operators are at work. This one asks the members while the other one promotes a leader, and reads the record after that: it
// deposed the new leader, which had not led yet when it was asked.
func TestMembersAreAskedAgainWhenTheRecordHasMovedOn(t *testing.T) {
	s := newScene(t)
	s.settled(t)
	fenced := led(1, decide.PhaseStable, "orders-1")
	fenced.Binding = []replication.Leadership{{Epoch: 1, Leader: fenced.Leader, Rules: fenced.Rules}}
	fenced.Epoch, fenced.Phase, fenced.Leader, fenced.Rules = 2, decide.PhaseFencing, replication.Voter{}, nil
	s.record(fenced, s.cache, s.server)
	for name, st := range s.members.is {
		st.Role, st.Promised, st.Epoch, st.Leader, st.Contact, st.Rules, st.Followers = wire.RoleFenced, 2, 0, "", nil, nil, nil
		s.members.is[name] = st
	}
	if plan := s.look(t); plan.State != decide.Fencing {
		t.Fatalf("%v: %s", plan.Outcome(), plan.Message)
	}
	s.server.before = func() { // after the members were asked, and before the record is read
		s.server.before = nil
		s.record(led(2, decide.PhaseStable, "orders-2"), s.server)
		s.lead(2, "orders-2")
	}
	if plan := s.look(t); plan.State != decide.Stable || plan.Risky() {
		t.Errorf("%v: %s: %v", plan.Outcome(), plan.Message, plan.Actions)
	}
}

// A record that moves on with every read holds up no look for ever.
func TestARecordThatAlwaysMovesOnIsReadAFewTimes(t *testing.T) {
	s := newScene(t)
	s.settled(t)
	epoch := replication.Epoch(1)
	s.server.before = func() {
		epoch++
		s.record(led(epoch, decide.PhaseStable, "orders-1"), s.server)
	}
	s.cache.lease = nil
	s.look(t)
	if s.server.reads > 2*maxReads {
		t.Errorf("%d reads", s.server.reads)
	}
}

// An older record was put back. Who must answer before anything goes on is not read off a cache that misses the newest member.
func TestMembersAreListedUncachedWhenTheRecordIsOld(t *testing.T) {
	s := newScene(t)
	s.settled(t)
	s.record(led(1, decide.PhaseStable, "orders-1"), s.server, s.cache)
	for name, st := range s.members.is {
		st.Promised, st.Role, st.Epoch = 3, wire.RoleFenced, 0
		s.members.is[name] = st
	}
	s.server.pods = append(slices.Clone(s.cache.pods), s.podOf(4))
	plan := s.look(t)
	if plan.State != decide.RecordLost || s.server.lists == 0 || plan.Risky() {
		t.Errorf("%v: %s: %v; %d lists", plan.Outcome(), plan.Message, plan.Actions, s.server.lists)
	}
	s.server.pods = s.cache.pods
	if plan := s.look(t); plan.State != decide.Fencing {
		t.Errorf("%v: %s", plan.Outcome(), plan.Message)
	}
}

// etcd was put back to an older copy. Watches tell nothing of that, so what the caches hold is not acted on any more.
func TestAnOperatorEndsWhereEtcdWasPutBack(t *testing.T) {
	for name, tc := range map[string]struct {
		server func(*scene)
		ends   bool
	}{
		"an older version": {func(s *scene) { s.server.lease.ResourceVersion = "7" }, true},
		"an older record, of a newer version": {func(s *scene) {
			s.version = 50
			s.record(led(1, decide.PhaseStable, "orders-1"), s.server)
		}, true},
		"a Lease that was made anew": {func(s *scene) { s.server.lease.UID, s.server.lease.ResourceVersion = "another", "7" }, false},
		"no Lease":                   {func(s *scene) { s.server.lease = nil }, false},
		"a newer version":            {func(s *scene) { s.server.lease.ResourceVersion = "21" }, false},
		"the same":                   {func(*scene) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			over := make(chan error, 1)
			s.over, s.Recorder = over, events.NewFakeRecorder(10)
			s.version = 19
			s.record(led(2, decide.PhaseStable, "orders-2"), s.cache, s.server)
			s.lead(2, "orders-2")
			s.look(t)
			s.settled(t)
			tc.server(s)
			delete(s.members.is, "orders-2") // so that the record is read
			p := &pass{Reconciler: s.Reconciler, memory: s.memory, store: s.store, began: s.Clock.Now()}
			plan, err := p.look(t.Context())
			if ends := len(over) > 0; ends != tc.ends || ends != (err != nil) || ends && len(plan.Actions) > 0 {
				t.Errorf("ends %t: %v: %v: %v", ends, err, plan.Outcome(), plan.Actions)
			}
		})
	}
}

// What cannot be read is not decided on.
func TestALookThatCannotReadTheRecordFails(t *testing.T) {
	s := newScene(t)
	s.settled(t)
	delete(s.members.is, "orders-1")
	broken := errors.New("no API server")
	s.Reader = failing{broken}
	p := &pass{Reconciler: s.Reconciler, memory: s.memory, store: s.store, began: s.Clock.Now()}
	if plan, err := p.look(t.Context()); !errors.Is(err, broken) || len(plan.Actions) > 0 {
		t.Errorf("%v: %v: %v", plan.Outcome(), plan.Actions, err)
	}
}

type failing struct{ err error }

func (f failing) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return f.err
}
func (f failing) List(context.Context, client.ObjectList, ...client.ListOption) error { return f.err }
