package sim

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// fakeControl adapts a member of a fake.Cluster to Control.
type fakeControl struct {
	client nodeclient.Client
	to     nodeclient.Target
}

func (c fakeControl) Status(*Proc) (wire.Status, error) {
	return c.client.Status(context.Background(), c.to)
}

func (c fakeControl) Fence(_ *Proc, r wire.FenceRequest) (wire.FenceReply, error) {
	return c.client.Fence(context.Background(), c.to, r)
}

func (c fakeControl) Promote(_ *Proc, r wire.PromoteRequest) error {
	_, err := c.client.Promote(context.Background(), c.to, r)
	return err
}

func (c fakeControl) Follow(_ *Proc, r wire.FollowRequest) error {
	_, err := c.client.Follow(context.Background(), c.to, r)
	return err
}

func (c fakeControl) Configure(_ *Proc, r wire.ConfigureRequest) error {
	_, err := c.client.Configure(context.Background(), c.to, r)
	return err
}

func (c fakeControl) Handover(_ *Proc, r wire.HandoverRequest) (wire.HandoverReply, error) {
	return c.client.Handover(context.Background(), c.to, r)
}

// stage is two operators and a store whose members are fakes that replicate instantly.
type stage struct {
	t    testing.TB
	l    *Loop
	api  *API
	kube *Kubelets
	fake *fake.Cluster
	ops  []*Operator

	text string // the record that was decoded last
	rec  *decide.Record
}

func newStage(t testing.TB, seed uint64) *stage {
	l, a, _ := cluster(t, seed)
	s := &stage{t: t, l: l, api: a, fake: fake.NewCluster("orders")}
	s.kube = a.NewKubelets(Hooks{
		Start: func(name, host string, _ types.UID) {
			s.fake.Start(name, host)
			a.net.Host(host).Process().OnExit(func() { s.fake.Crash(name) })
		},
		Wipe: func(types.UID) {},
	})
	control := func(host string) Control {
		return fakeControl{fake.Client{Cluster: s.fake, From: fake.Operator}, nodeclient.Target{Address: net.JoinHostPort(host, strconv.Itoa(v1alpha1.PortControl))}}
	}
	s.ops = []*Operator{a.NewOperator("operator-a", control), a.NewOperator("operator-b", control)}
	began, renewed := s.fake.Now(), time.Duration(0)
	var tick func()
	tick = func() {
		s.fake.Settle()
		if d := l.Now() - s.fake.Now().Sub(began); d > 0 {
			s.fake.Advance(d)
		}
		if r := s.record(); r != nil && l.Now() >= renewed {
			renewed = l.Now() + 2*time.Second
			s.renew(r)
		}
		for _, host := range s.kube.Hosts() {
			for _, o := range s.ops {
				o.Changed(host)
			}
		}
		l.After(130*time.Millisecond, tick)
	}
	tick()
	return s
}

func (s *stage) record() *decide.Record {
	if s.api.Lease() == nil {
		return nil
	}
	if text := s.api.RecordText(); text != s.text {
		r, err := decide.DecodeRecord(text)
		if err != nil {
			s.t.Fatal(err)
		}
		s.text, s.rec = text, r
	}
	return s.rec
}

func (s *stage) renew(r *decide.Record) {
	host := s.kube.Hosts()[r.Leader.Member]
	if host == "" || !s.fake.Renew(r.Leader.Member) || s.api.net.Host(host).Process() == nil {
		return
	}
	s.api.net.Host(host).Process().Go("renew", func(p *Proc) { s.api.Renew(p, host, r.Leader.Member, r.Epoch, time.Second) })
}

func (s *stage) until(what string, done func() bool) {
	s.t.Helper()
	if !s.l.RunUntil(done, s.l.Now()+3*time.Minute) {
		s.t.Fatalf("never: %s\nrecord %s\n%s", what, s.api.RecordText(), s.l.Tail())
	}
}

// stable reports whether there is a leader in an epoch of at least e, with two voters.
func (s *stage) stable(e replication.Epoch) func() bool {
	return func() bool {
		r := s.record()
		return r != nil && r.Epoch >= e && r.Phase == decide.PhaseStable && len(r.Rules) == 1 && len(r.Rules[0].Voters) == 2 &&
			s.fake.Writable() == r.Leader.Member
	}
}

func (s *stage) check() {
	s.t.Helper()
	if b := s.fake.Broken(false); len(b) > 0 {
		s.t.Fatalf("broken: %v\n%s", b, s.l.Tail())
	}
}

func TestOperatorsRunAStore(t *testing.T) {
	s := newStage(t, 1)
	s.until("a store", s.stable(1))
	s.until("a published status", func() bool { return len(s.api.Store().Status.Members) == 3 })
	active := 0
	for _, o := range s.ops {
		if o.Leads() {
			active++
		}
	}
	if active != 1 {
		t.Fatalf("%d operators are active", active)
	}
	first := s.record().Leader.Member
	s.api.net.Host(s.kube.Hosts()[first]).Kill()
	s.until("the next epoch", s.stable(2))
	s.kube.LoseNode(s.kube.Node(s.record().Leader.Member))
	s.until("a leader on another node", func() bool {
		r := s.record()
		return r.Phase == decide.PhaseStable && r.Epoch >= 3 && s.fake.Writable() == r.Leader.Member
	})
	s.kube.RestoreNodes()
	s.until("all of them", s.stable(3))

	first = s.record().Rules[0].Voters[0].Member
	s.api.EditStore(func(o *v1alpha1.ReplicatedStore) { o.Annotations[v1alpha1.AnnotationFailover] = first })
	s.until("a handover", func() bool {
		r := s.api.Store().Status.FailoverRequest
		return r != nil && s.api.Store().Annotations[v1alpha1.AnnotationFailover] == ""
	})
	s.until("the wished-for leader", func() bool { return s.stable(4)() && s.record().Leader.Member == first })

	replicas := int32(4)
	s.api.EditStore(func(o *v1alpha1.ReplicatedStore) { o.Spec.Replicas = &replicas })
	s.until("a fourth member", func() bool { r := s.record(); return len(r.Rules) == 1 && len(r.Rules[0].Voters) == 3 })
	s.check()
}

// TestOperatorsMayDieAnywhere kills, pauses and doubles the operators while leaders die, and checks that the store comes back.
func TestOperatorsMayDieAnywhere(t *testing.T) {
	for seed := range uint64(10) {
		s := newStage(t, seed)
		s.until("a store", s.stable(1))
		s.api.net.Twice, s.api.Conflicts, s.api.Busy, s.api.Lost = 0.05, 0.1, 0.05, 0.05
		s.api.BreakElection(s.l.Chance(0.5))
		for range 40 {
			o := s.ops[s.l.Rand.IntN(2)]
			switch s.l.Rand.IntN(5) {
			case 0:
				o.Kill()
			case 1:
				o.Pause(s.l.Between(0, 5*time.Second))
			case 2:
				if r := s.record(); r != nil && r.Leader.Member != "" {
					if h := s.kube.Hosts()[r.Leader.Member]; h != "" {
						s.api.net.Host(h).Kill()
					}
				}
			default:
			}
			s.l.Run(s.l.Now() + s.l.Between(0, 2*time.Second))
			s.check()
		}
		s.api.net.Twice, s.api.Conflicts, s.api.Busy, s.api.Lost = 0, 0, 0, 0
		s.api.BreakElection(false)
		s.until("a store again", s.stable(1))
		s.check()
	}
}

// TestABrokenElection checks that both operators are active while the election is broken, and one of them afterwards.
func TestABrokenElection(t *testing.T) {
	s := newStage(t, 2)
	both := func() bool { return s.ops[0].Leads() && s.ops[1].Leads() }
	s.until("a store", s.stable(1))
	s.api.BreakElection(true)
	s.until("both are active", both)
	s.api.BreakElection(false)
	s.until("one is active", func() bool { return !both() })
	s.l.Run(s.l.Now() + 20*time.Second)
	if both() || !s.ops[0].Leads() && !s.ops[1].Leads() {
		t.Error("not one is active")
	}
}

// TestOperatorsEndWhenTheLeaseIsRestored checks that an operator which has seen a newer epoch ends, and that the store comes back.
func TestOperatorsEndWhenTheLeaseIsRestored(t *testing.T) {
	s := newStage(t, 3)
	for e := range replication.Epoch(3) {
		s.until("a leader", s.stable(e+1))
		s.l.Run(s.l.Now() + time.Second)
		if e < 2 {
			s.api.net.Host(s.kube.Hosts()[s.record().Leader.Member]).Kill()
		}
	}
	newest := s.record().Epoch
	for s.record().Epoch == newest {
		s.api.RestoreOld(false)
	}
	was := []*Process{s.ops[0].process, s.ops[1].process}
	s.until("both have ended", func() bool { return s.ops[0].process != was[0] && s.ops[1].process != was[1] })
	s.until("the record is as it was", s.stable(newest))
	s.check()
}

func BenchmarkPasses(b *testing.B) {
	s := newStage(b, 1)
	s.until("a store", s.stable(1))
	passes := func() int { return s.ops[0].Passes + s.ops[1].Passes }
	wake := func() {
		for _, o := range s.ops {
			o.wake()
		}
	}
	for b.Loop() {
		was := passes()
		wake()
		s.l.RunUntil(func() bool { return passes() > was }, s.l.Now()+time.Minute)
	}
}
