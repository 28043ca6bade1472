package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/test/metricdocs"
)

// series returns the series of a collector that are not 0, as text.
func series(t *testing.T, c prometheus.Collector) (out []string) {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if v := m.GetGauge().GetValue() + m.GetCounter().GetValue(); v != 0 {
				text := f.GetName()
				for _, l := range m.GetLabel() {
					text += " " + l.GetValue()
				}
				out = append(out, fmt.Sprint(text, " = ", v))
			}
		}
	}
	slices.Sort(out)
	return out
}

// What is exported for a store is what was last published: nothing from before, and nothing once the store is gone.
func TestMetricsTellOfEveryStoreAsItWasPublishedLast(t *testing.T) {
	m := &storeMetrics{shown: map[types.NamespacedName]shown{}}
	orders, bills := types.NamespacedName{Namespace: "shop", Name: "orders"}, types.NamespacedName{Namespace: "shop", Name: "bills"}
	plan := decide.Plan{State: decide.Stable, Lost: &decide.Loss{Epoch: 2}}
	plan.Status = v1alpha1.ReplicatedStoreStatus{
		Counters: v1alpha1.FailoverCounters{Failovers: 2, Lossy: 1},
		Epoch:    2, Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue}, {Type: "Degraded", Status: metav1.ConditionFalse}},
		Members: []v1alpha1.MemberStatus{{Name: "orders-1", Role: "Leader"}, {Name: "orders-2", Role: "Follower", Lag: new(int64(3))}},
		LastFailover: &v1alpha1.FailoverReport{
			Kind: v1alpha1.KindFailover, Reason: "LeaderRefused", Result: v1alpha1.ResultSucceeded, WritesLost: v1alpha1.LostUnknown,
			DetectedTime: &metav1.MicroTime{Time: time.UnixMilli(1500)}, Durations: v1alpha1.FailoverDurations{Total: &metav1.Duration{Duration: 2 * time.Second}},
			Positions: []v1alpha1.ComparedPosition{{Member: "orders-2", Position: 9}},
		},
	}
	m.show(orders, plan)
	plan.Status.Members[0].Role = "Unknown" // later, by another pass
	want := []string{
		"replicatedstore_last_failover_lost_writes shop orders = -1",
		"replicatedstore_last_failover_phase_seconds shop total orders = 2",
		"replicatedstore_last_failover_position orders-2 shop orders = 9",
		"replicatedstore_last_failover_timestamp_seconds Failover shop LeaderRefused Succeeded orders = 1.5",
		"replicatedstore_member_lag_writes orders-2 shop orders = 3",
		"replicatedstore_store_condition Ready shop orders = 1",
		"replicatedstore_store_epoch shop orders = 2",
		"replicatedstore_store_leader_changes_total failovers shop orders = 2",
		"replicatedstore_store_leader_changes_total lossy shop orders = 1",
		"replicatedstore_store_members shop Follower orders = 1",
		"replicatedstore_store_members shop Leader orders = 1",
		"replicatedstore_store_state shop Stable orders = 1",
		"replicatedstore_store_writes_lost shop orders = 1",
	}
	if got := series(t, m); !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	m.show(orders, decide.Plan{State: decide.Creating})
	m.show(bills, decide.Plan{State: decide.Paused})
	if got := series(t, m); !slices.Equal(got, []string{"replicatedstore_store_state shop Creating orders = 1", "replicatedstore_store_state shop Paused bills = 1"}) {
		t.Errorf("%q", got)
	}
	m.forget(orders)
	m.forget(bills)
	if got := series(t, m); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// A role that nobody has is exported as 0, not left out: otherwise nobody could be alerted to it.
func TestMetricsTellOfRolesThatNobodyHas(t *testing.T) {
	m := &storeMetrics{shown: map[types.NamespacedName]shown{}}
	plan := decide.Plan{State: decide.Blocked}
	plan.Status.Members = []v1alpha1.MemberStatus{{Name: "orders-1", Role: v1alpha1.MemberUnknown}}
	m.show(types.NamespacedName{Namespace: "shop", Name: "orders"}, plan)
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(m)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	roles := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "replicatedstore_store_members" {
				roles[m.GetLabel()[1].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	if want := map[string]float64{"Leader": 0, "Follower": 0, "Waiting": 0, "Fenced": 0, "Unknown": 1}; !maps.Equal(roles, want) {
		t.Errorf("%v, want %v", roles, want)
	}
}

// An operator that is no longer elected exports nothing for a store next to the elected one, and publishes nothing.
func TestMetricsOfAStoreAreTakenBackOnStandby(t *testing.T) {
	c := &changed{}
	p := &pass{Reconciler: &Reconciler{Client: c}, memory: newMemory(), store: &v1alpha1.ReplicatedStore{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "standby"}}}
	defer stores.forget(types.NamespacedName{Namespace: "shop", Name: "standby"})
	for _, standby := range []bool{false, true} {
		plan := decide.Plan{State: decide.Stable, Standby: standby}
		if err := p.publish(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		shown := slices.ContainsFunc(series(t, stores), func(s string) bool { return strings.Contains(s, " standby ") })
		if shown == standby {
			t.Errorf("standby %v: shown %v", standby, shown)
		}
	}
	if len(c.patches) > 0 {
		t.Errorf("published %q", c.patches)
	}
}

// A store whose looks fail is exported as last seen, with the time of that; a store that was never seen, with the time when
// it was first looked at.
func TestMetricsTellOfAStoreThatIsNotSeen(t *testing.T) {
	key := types.NamespacedName{Namespace: "shop", Name: "orders"}
	stores.forget(key)
	defer stores.forget(key)
	s := newScene(t)
	s.whole()
	now := clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
	s.Clock = now
	pass := func(at int64, fails bool, want string) {
		t.Helper()
		now.SetTime(time.Unix(at, 0))
		s.Reader = s.Client
		if fails {
			s.Reader = failing{errors.New("no API server")}
			s.store.Annotations = map[string]string{v1alpha1.AnnotationFailover: "any"} // so that it is read uncached
		}
		if _, err := s.pass(t); (err != nil) != fails {
			t.Fatal(err)
		}
		var seen string
		for _, s := range series(t, stores) {
			if text, ok := strings.CutPrefix(s, "replicatedstore_store_seen_timestamp_seconds shop orders = "); ok {
				seen = text
			}
		}
		if seen != want {
			t.Errorf("at %d: seen at %q, want %q", at, seen, want)
		}
		s.store.Annotations = nil
	}
	pass(1000, true, "1000")
	pass(1010, true, "1000")
	pass(1020, false, "1020")
	pass(1030, true, "1020")
	s.Election = newElection(&shelfLock{shelf: &shelf{}}, ElectionOptions{})
	pass(1040, false, "")
	pass(1050, true, "")
	s.Election = nil
	pass(1060, false, "1060")
	s.Election = newElection(&shelfLock{shelf: &shelf{}}, ElectionOptions{})
	pass(1070, true, "") // it lost its election together with the API server
}

// An operator acts once it is elected and its caches are filled, whichever comes last.
func TestMetricsTellWhoActs(t *testing.T) {
	for _, election := range []*Election{nil, newElection(&shelfLock{shelf: &shelf{}}, ElectionOptions{})} {
		r := &Reconciler{Election: election}
		tell := func(want bool, when string) {
			t.Helper()
			if got := len(series(t, operatorActs)) > 0; got != want {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
		r.tellActing()
		tell(false, "without its caches")
		if _, err := r.Reconcile(t.Context(), started); err != nil {
			t.Fatal(err)
		}
		tell(election == nil, "with its caches")
		if election == nil {
			continue
		}
		wakes := make(chan types.NamespacedName, 1)
		election.changed = r.electionChanged(wakes)
		term, end := context.WithCancel(t.Context())
		if !election.won(term) {
			t.Fatal("not elected")
		}
		election.changed(term)
		tell(true, "elected")
		election.lost(term)
		tell(false, "not elected any more")
		end()
	}
}

func TestMetricsAreDocumented(t *testing.T) {
	metricdocs.Compare(t, "Operator", failovers, failoverSeconds, steppedDown, operatorActs, stores)
}
