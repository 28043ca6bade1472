package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// configured holds members whose leader accepts other rules; that is noted along with what is written to the cluster.
type configured struct {
	members
	c *recording
}

func (m configured) Configure(_ context.Context, to nodeclient.Target, r wire.ConfigureRequest) (wire.Status, error) {
	m.c.order = append(m.c.order, fmt.Sprintf("configure k=%d", r.Rules[len(r.Rules)-1].K))
	s := m.is[to.Member]
	s.Rules, s.ConfigVersion = r.Rules, r.Version
	m.is[to.Member] = s
	return s, nil
}

// Durability Preferred lowers the number, and status says so before the leader acknowledges with fewer; also if the operator
// died, or could not write status, in between.
func TestStatusTellsOfAWeakerAcknowledgementBeforeTheFirst(t *testing.T) {
	s := newScene(t)
	c := &recording{cluster: s.whole()}
	s.Client, s.Reader, s.Reconciler.Nodes = c, c, configured{s.members, c}
	s.store.Spec.Replication.Synchronous.Durability = v1alpha1.DurabilityPreferred
	if _, err := s.pass(t); err != nil {
		t.Fatal(err)
	}
	leader := s.members.is["orders-1"]
	for n, f := range leader.Followers {
		f.SilentMillis, f.CaughtUp, f.Live = 60_000, false, false
		leader.Followers[n] = f
	}
	delete(s.members.is, "orders-2")
	delete(s.members.is, "orders-3")
	_, _ = s.pass(t)
	s.memory.Facts.Since["too few live voters"] = time.Now().Add(-time.Minute)
	c.order, c.fails = nil, errors.New("no status today")
	lowered := func() bool { return slices.Contains(c.order, "configure k=0") }
	for range 3 {
		if _, err := s.pass(t); err == nil || lowered() {
			t.Fatalf("status cannot be written: %v, %s", err, strings.Join(c.order, ", "))
		}
	}
	c.fails = nil
	for range 10 {
		if _, err := s.pass(t); err != nil {
			t.Fatal(err)
		}
		if lowered() {
			break
		}
	}
	told := slices.Index(c.order, "status k=0")
	if done := slices.Index(c.order, "configure k=0"); told < 0 || done < told {
		t.Fatalf("in this order: %s", strings.Join(c.order, ", "))
	}
}

// What is published before it is done, and what waits for that: a status that cannot be written does not keep a store from
// getting a leader.
func TestWhatWaitsUntilStatusTellsIt(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "replicatedstores"}, "orders", errors.New("an older copy"))
	no := errors.New("no status today")
	for name, tc := range map[string]struct {
		action     decide.Action
		durability v1alpha1.Durability
		k          int32 // status says 1
		fails      error
		told, stop bool
	}{
		"lowered":                         {decide.ConfigureLeader{}, v1alpha1.DurabilityPreferred, 0, nil, true, false},
		"lowered, and it fails":           {decide.ConfigureLeader{}, v1alpha1.DurabilityPreferred, 0, no, false, true},
		"the spec says less, it fails":    {decide.ConfigureLeader{}, v1alpha1.DurabilityRequired, 0, no, false, false},
		"the same number":                 {decide.ConfigureLeader{}, v1alpha1.DurabilityPreferred, 1, no, false, false},
		"raised":                          {decide.ConfigureLeader{}, v1alpha1.DurabilityPreferred, 2, no, false, false},
		"elected with less":               {decide.PromoteMember{}, v1alpha1.DurabilityPreferred, 0, nil, true, false},
		"elected with less, and it fails": {decide.PromoteMember{}, v1alpha1.DurabilityPreferred, 0, no, false, false},
		"elected, by an older copy":       {decide.PromoteMember{}, v1alpha1.DurabilityPreferred, 0, conflict, false, true},
		"only recorded":                   {decide.WriteRecord{}, v1alpha1.DurabilityPreferred, 0, no, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			c := &recording{cluster: s.whole(), fails: tc.fails}
			s.Client = c
			s.store.Status.Replication.Number, s.store.Spec.Replication.Synchronous.Durability = 1, tc.durability
			p := &pass{Reconciler: s.Reconciler, memory: s.memory, store: s.store, began: time.Now()}
			plan := decide.Plan{State: decide.ChangingVoters, Actions: []decide.Action{tc.action}}
			plan.Status.Replication.Number = tc.k
			err := p.tellFirst(t.Context(), plan)
			if told := len(c.order) > 0; (err != nil) != tc.stop || told != tc.told {
				t.Errorf("%v; told: %v", err, c.order)
			}
		})
	}
}
