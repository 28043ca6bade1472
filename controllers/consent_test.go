package controllers

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// decoder decodes the store as a client does: a field that the answer does not name keeps its value in the target object.
type decoder struct{ *cluster }

func (d decoder) Get(ctx context.Context, key client.ObjectKey, into client.Object, o ...client.GetOption) error {
	if _, ok := into.(*v1alpha1.ReplicatedStore); !ok {
		return d.cluster.Get(ctx, key, into, o...)
	}
	b, err := json.Marshal(d.store)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// leaderless returns a scene in which the leader, which had no synchronous followers, is lost beyond doubt. The cache
// shows a store that consents to loss; the API server shows the store that is returned.
func leaderless(t *testing.T) (*scene, *v1alpha1.ReplicatedStore) {
	t.Helper()
	s := newScene(t)
	rec := led(1, decide.PhaseStable, "orders-1")
	rec.Rules = []replication.Rule{{Voters: rec.Rules[0].Voters}}
	s.record(rec, s.cache, s.server)
	s.whole()
	s.server.claims = s.cache.claims
	s.store.Spec.Failover.DataLoss = v1alpha1.DataLossAllow
	s.store.Spec.Replication.Synchronous.Number = new(int32(0))
	for name, st := range s.members.is {
		st.Contact = &wire.Contact{Refused: true, SilentMillis: 60000}
		s.members.is[name] = st
	}
	delete(s.members.is, "orders-1")
	s.memory.Lease.Led(&rec, time.Now().Add(-time.Minute))
	now := s.store.DeepCopy()
	now.Generation++
	s.Reader = decoder{&cluster{objects: s.server, store: now}}
	return s, now
}

func replaces(p decide.Plan) bool {
	return slices.ContainsFunc(p.Actions, func(a decide.Action) bool { _, ok := a.(decide.WriteRecord); return ok })
}

// A person has withdrawn what the cache still shows. A lost leader is replaced only as the API server's copy allows.
func TestALeaderIsReplacedByTheNewestSpec(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*v1alpha1.ReplicatedStore)
		state  decide.State
	}{
		"loss is not accepted any more": {func(s *v1alpha1.ReplicatedStore) { s.Spec.Failover.DataLoss = v1alpha1.DataLossForbid }, decide.Blocked},
		"a person is to decide":         {func(s *v1alpha1.ReplicatedStore) { s.Spec.Failover.Mode = v1alpha1.FailoverManual }, decide.Blocked},
		"the store is to be left alone": {func(s *v1alpha1.ReplicatedStore) {
			s.Annotations = map[string]string{v1alpha1.AnnotationReconcile: v1alpha1.ReconcileDisabled}
		}, decide.Paused},
		"nothing has changed": {func(*v1alpha1.ReplicatedStore) {}, decide.Fencing},
	} {
		for _, standby := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				s, now := leaderless(t)
				if standby {
					s.Election = &Election{}
					s.memory.StoodIn = 1 // it has already begun to stand in
				}
				tc.change(now)
				plan := s.look(t)
				if plan.State != tc.state || replaces(plan) != (tc.state == decide.Fencing) {
					t.Errorf("%v: %s: %v", plan.Outcome(), plan.Message, plan.Actions)
				}
			})
		}
	}
}

// An annotation that is in the cache, but was since removed from the store, has no effect.
func TestAnAnnotationThatWasRemovedIsNotActedOn(t *testing.T) {
	s := newScene(t)
	s.whole()
	s.Reader = decoder{&cluster{objects: s.server, store: s.store.DeepCopy()}}
	s.server.claims = s.cache.claims
	s.store.Annotations = map[string]string{v1alpha1.AnnotationFailover: "orders-2"}
	if plan := s.look(t); plan.State != decide.Stable || len(plan.Actions) > 0 {
		t.Errorf("%v: %s: %v", plan.Outcome(), plan.Message, plan.Actions)
	}
}
