package sim

import (
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/node/lease"
	"github.com/replicatedstore/replicatedstore/replication"
)

// cluster returns an API server with a store, and a process from which a Proc uses it.
func cluster(t testing.TB, seed uint64) (*Loop, *API, *Process) {
	t.Helper()
	l := NewLoop(seed)
	t.Cleanup(l.Close)
	n := l.NewNet()
	n.Twice = 0
	replicas := int32(3)
	store := &v1alpha1.ReplicatedStore{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders", Generation: 1}}
	store.Spec.Replicas = &replicas
	return l, n.NewAPI(store), n.Host("me").Boot("me")
}

// within runs f as a Proc of o and waits until it ends.
func within(t *testing.T, l *Loop, o *Process, f func(p *Proc)) {
	t.Helper()
	p := o.Go("test", f)
	if !l.RunUntil(p.Ended, l.Now()+time.Hour) {
		t.Fatal("it hangs")
	}
}

func record(c Client, p *Proc, w decide.WriteRecord) error {
	_, err := c.WriteRecord(p, w)
	return err
}

func recordOf(epoch replication.Epoch, leader string) decide.Record {
	return decide.Record{
		Epoch: epoch, Phase: decide.PhaseStable, ConfigVersion: 1, Leader: replication.Voter{Member: leader, Incarnation: "i"},
		Rules: []replication.Rule{{Voters: []replication.Voter{{Member: "orders-9", Incarnation: "i"}}, K: 1}},
	}
}

func TestTheRecordIsSwapped(t *testing.T) {
	l, a, o := cluster(t, 1)
	c := a.Client("me")
	within(t, l, o, func(p *Proc) {
		if found, err := c.GetLease(p); found != nil || err != nil {
			t.Errorf("%v, %v", found, err)
		}
		must(t, record(c, p, decide.WriteRecord{Record: recordOf(1, "orders-1"), LeaseSeconds: 6, NewLeader: true}))
		if err := record(c, p, decide.WriteRecord{Record: recordOf(2, "orders-2")}); !apierrors.IsAlreadyExists(err) {
			t.Errorf("made twice: %v", err)
		}
		seen, err := c.GetLease(p)
		must(t, err)
		r := a.Renew(p, "me", "orders-1", 1, time.Second)
		if r.Answer != lease.Ours || r.Seconds != 6 || r.Sent <= 0 || r.Sent >= l.Now() {
			t.Errorf("renewed: %+v", r)
		}
		if err := record(c, p, decide.WriteRecord{Record: recordOf(2, "orders-2"), ResourceVersion: seen.ResourceVersion()}); !apierrors.IsConflict(err) {
			t.Errorf("on an old version: %v", err)
		}
		if seen, err = c.GetLease(p); err != nil || seen.Renewed == 0 || seen.Holder != "orders-1" {
			t.Errorf("%+v, %v", seen, err)
		}
		must(t, record(c, p, decide.WriteRecord{Record: recordOf(2, "orders-2"), ResourceVersion: seen.ResourceVersion(), NewLeader: true}))
		if l := a.Lease(); l.Renewed != 0 || l.Holder != "orders-2" {
			t.Errorf("after another leader was named: %+v", l)
		}
	})
}

func TestStatusIsReplacedOverTheNewestCopyOnly(t *testing.T) {
	l, a, o := cluster(t, 1)
	c := a.Client("me")
	within(t, l, o, func(p *Proc) {
		base := a.Store()
		next := v1alpha1.ReplicatedStoreStatus{ObservedGeneration: 7}
		now, err := c.PatchStatus(p, base, next, true)
		must(t, err)
		if _, err := c.PatchStatus(p, base, next, true); now.Status.ObservedGeneration != 7 || !apierrors.IsConflict(err) {
			t.Errorf("%+v; over an older copy: %v", now.Status, err)
		}
		if _, err := c.PatchStatus(p, base, next, false); err != nil {
			t.Errorf("whatever the copy: %v", err)
		}
	})
}

func TestRenewals(t *testing.T) {
	tests := map[string]struct {
		before func(a *API)
		want   lease.Answer
	}{
		"ours":          {func(*API) {}, lease.Ours},
		"deposed":       {func(a *API) { a.setLease(&LeaseObject{Record: recordOf(6, "x").Encode(), Holder: "orders-1"}) }, lease.Deposed},
		"older record":  {func(a *API) { a.setLease(&LeaseObject{Record: recordOf(4, "x").Encode(), Holder: "orders-1"}) }, lease.Unrecorded},
		"unreadable":    {func(a *API) { a.setLease(&LeaseObject{Record: "{", Holder: "orders-1"}) }, lease.Unrecorded},
		"other holder":  {func(a *API) { a.setLease(&LeaseObject{Record: recordOf(5, "x").Encode(), Holder: "x"}) }, lease.OtherHolder},
		"no Lease":      {func(a *API) { a.DeleteLease() }, lease.Missing},
		"API down":      {func(a *API) { a.SetDown(true) }, lease.Unreachable},
		"API too slow":  {func(a *API) { a.Slow = 5 * time.Second }, lease.Unreachable},
		"overloaded":    {func(a *API) { a.Busy = 1 }, lease.Unreachable},
		"answer lost":   {func(a *API) { a.Lost = 1 }, lease.Unreachable},
		"all conflicts": {func(a *API) { a.Conflicts = 1 }, lease.Conflict},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l, a, o := cluster(t, 2)
			a.setLease(&LeaseObject{Record: recordOf(5, "orders-1").Encode(), Holder: "orders-1", Seconds: 6})
			within(t, l, o, func(p *Proc) {
				if r := a.Renew(p, "me", "orders-1", 5, time.Second); r.Answer != lease.Ours {
					t.Errorf("first: %v", r.Answer)
				}
				tc.before(a)
				was := a.lease
				r := a.Renew(p, "me", "orders-1", 5, time.Second)
				if r.Answer != tc.want {
					t.Errorf("%v, want %v", r.Answer, tc.want)
				}
				if renewed := a.lease != was; renewed != (name == "ours" || name == "answer lost") {
					t.Errorf("renewed: %t", renewed)
				}
			})
		})
	}
}

func TestCachesLagAndCatchUp(t *testing.T) {
	late, stale := 0, 0
	for seed := range uint64(100) {
		l, a, o := cluster(t, seed)
		told := 0
		var c *Cache
		within(t, l, o, func(p *Proc) {
			must(t, a.Client("me").CreateMember(p, "orders-1", "v"))
			c = a.NewCache(p, "me", func(int) { told++ })
		})
		if len(c.Pods) == 0 {
			stale++
		}
		l.Run(l.Now() + 3*time.Second)
		a.EditPod("orders-1", func(p *decide.Pod) { p.Reseed = true })
		if c.Pods["orders-1"].Reseed {
			t.Fatal("a cache knows at once")
		}
		l.Run(l.Now() + 31*time.Millisecond)
		if !c.Pods["orders-1"].Reseed {
			late++
		}
		l.Run(l.Now() + 3*time.Second)
		if !c.Pods["orders-1"].Reseed || told == 0 {
			t.Fatal("a cache never learns")
		}
		a.net.Cut(APIHost, "me")
		a.EditPod("orders-1", func(p *decide.Pod) { p.Reseed = false })
		l.Run(l.Now() + 10*time.Second)
		if !c.Pods["orders-1"].Reseed {
			t.Fatal("a cache learns over a cut")
		}
		a.net.HealAll()
		c.Freeze(time.Second)
		l.Run(l.Now() + 900*time.Millisecond)
		if !c.Pods["orders-1"].Reseed {
			t.Fatal("a frozen cache learns")
		}
		l.Run(l.Now() + 3*time.Second)
		if c.Pods["orders-1"].Reseed {
			t.Fatal("a thawed cache does not learn")
		}
	}
	if late == 0 || late > 50 || stale == 0 || stale > 50 {
		t.Errorf("of 100, %d learned late and %d began with an old list", late, stale)
	}
}

// nodes records the calls of the kubelets' hooks.
type nodes struct {
	running map[string]types.UID // claims, by host
	wiped   []types.UID
	power   int
}

func startNodes(a *API) (*Kubelets, *nodes) {
	n := &nodes{running: map[string]types.UID{}}
	k := a.NewKubelets(Hooks{
		Start: func(_, host string, claim types.UID) {
			for _, c := range n.running {
				if c == claim {
					panic("two processes have one volume")
				}
			}
			n.running[host] = claim
			a.net.Host(host).Process().OnExit(func() { delete(n.running, host) })
		},
		Wipe:      func(claim types.UID) { n.wiped = append(n.wiped, claim) },
		PowerLost: func(string, types.UID) { n.power++ },
	})
	return k, n
}

func TestKubeletsRunPods(t *testing.T) {
	l, a, o := cluster(t, 3)
	k, n := startNodes(a)
	c := a.Client("me")
	create := func(names ...string) {
		within(t, l, o, func(p *Proc) {
			for _, name := range names {
				must(t, c.CreateMember(p, name, "v"))
			}
		})
	}
	until := func(what string, done func() bool) {
		t.Helper()
		if !l.RunUntil(done, l.Now()+time.Minute) {
			t.Fatalf("never: %s; runs %v, pods %v", what, n.running, a.Pods())
		}
	}
	create("orders-1", "orders-2")
	until("both run", func() bool { return len(n.running) == 2 })
	pod, _ := a.Pod("orders-1")
	if pod.IP != k.Hosts()["orders-1"] || k.Node("orders-1") == k.Node("orders-2") || !pod.Ready {
		t.Fatalf("%+v on %v", pod, k.Hosts())
	}
	a.net.Host(pod.IP).Kill()
	if p, _ := a.Pod("orders-1"); p.Ready || len(n.running) != 1 {
		t.Fatal("a dead process is ready")
	}
	until("it is restarted", func() bool { return len(n.running) == 2 })

	node := k.Node("orders-1")
	k.LoseNode(node)
	l.Run(l.Now() + 20*time.Second)
	if len(n.running) != 1 || n.power != 1 || a.net.Open("me", pod.IP) {
		t.Fatal("a lost node is there")
	}
	a.Evict("orders-1")
	a.ForceDelete("orders-1")
	create("orders-1")
	l.Run(l.Now() + 20*time.Second)
	if len(n.running) != 1 {
		t.Fatal("a pod runs without its volume")
	}
	k.RestoreNode(node)
	until("it runs again", func() bool { return len(n.running) == 2 })
	again, _ := a.Pod("orders-1")
	if again.UID == pod.UID || again.Node != node {
		t.Fatalf("%+v after %+v", again, pod)
	}

	within(t, l, o, func(p *Proc) {
		previous := []error{c.DeleteClaim(p, "orders-1", "not this one"), c.DeletePod(p, "orders-1", pod.UID), c.PatchPod(p, "orders-1", pod.UID, func(*decide.Pod) {})}
		for _, err := range previous {
			if !apierrors.IsConflict(err) {
				t.Errorf("about one that was replaced: %v", err)
			}
		}
		must(t, c.DeleteClaim(p, "orders-1", a.claims["orders-1"].UID))
	})
	l.Run(l.Now() + 5*time.Second)
	if len(n.wiped) != 0 || a.claims["orders-1"] == nil || len(n.running) != 2 {
		t.Fatal("a claim in use is gone, or a pod of another UID")
	}
	within(t, l, o, func(p *Proc) { must(t, c.DeletePod(p, "orders-1", again.UID)) })
	until("it is gone", func() bool { return len(a.Pods()) == 1 && a.claims["orders-1"] == nil })
	if len(n.wiped) != 1 || len(n.running) != 1 || a.net.Open("me", again.IP) {
		t.Fatalf("wiped %v, runs %v", n.wiped, n.running)
	}
}

func TestAddressesAreReused(t *testing.T) {
	l, a, o := cluster(t, 4)
	k, n := startNodes(a)
	k.Reuse = 1
	c := a.Client("me")
	var hosts []string
	for range 3 {
		within(t, l, o, func(p *Proc) { must(t, c.CreateMember(p, "orders-1", "v")) })
		l.RunUntil(func() bool { return len(n.running) == 1 }, l.Now()+time.Minute)
		hosts = append(hosts, k.Hosts()["orders-1"])
		a.Evict("orders-1")
		l.RunUntil(func() bool { return len(a.Pods()) == 0 }, l.Now()+time.Minute)
	}
	if hosts[0] == "" || hosts[1] != hosts[0] || hosts[2] != hosts[0] {
		t.Fatalf("addresses %v", hosts)
	}
}

func TestAnOlderLeaseIsRestored(t *testing.T) {
	l, a, o := cluster(t, 5)
	c := a.Client("me")
	if a.RestoreOld(true) {
		t.Fatal("nothing is older than nothing")
	}
	within(t, l, o, func(p *Proc) {
		for e := replication.Epoch(1); e <= 4; e++ {
			w := decide.WriteRecord{Record: recordOf(e, "orders-1")}
			if e > 1 {
				w.ResourceVersion = a.Lease().ResourceVersion()
			}
			must(t, record(c, p, w))
			must(t, c.CreateMember(p, v1alpha1.MemberName("orders", int(e)), "v"))
		}
	})
	version := a.Lease().Version
	if !a.RestoreOld(false) || a.Lease().Version <= version || strings.Contains(a.RecordText(), `"epoch":4`) || len(a.Pods()) != 4 {
		t.Fatalf("%+v, %v", a.Lease(), a.Pods())
	}
	if !a.RestoreOld(true) || len(a.Pods()) == 4 {
		t.Fatalf("pods are still %v", a.Pods())
	}
}
