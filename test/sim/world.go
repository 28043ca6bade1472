package sim

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/node/role"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// World is the course of events of one seed: a store, its members, two operators, the API server, kubelets, clients and faults.
type World struct {
	ledger
	seed     uint64
	loop     *Loop
	net      *Net
	api      *API
	kubelets *Kubelets
	ops      []*Operator
	disks    map[types.UID]*Disk // by claim
	members  map[string]*process // running members, by host
	history  *History

	rule   replication.Rule // K of the spec at the start of the world
	retain int64            // bytes of log kept for followers
	// retainEvery is the pruning interval; pad is the number of extra bytes per entry.
	retainEvery time.Duration
	pad         int
	segment     int64         // size of a log file in bytes
	troubled    time.Duration // how long there are faults
	mixed       bool          // clients differ in what they do and in how long they wait
	theme       theme
	lossy       bool // the record reported lost writes
	restored    bool // an older record was restored
	quiet       bool // faults and clients have ended
	faults      faults

	values       uint64 // the newest value written
	incarnations int
	processes    int
	refusals     int
	fullActs     int // orders carried out by members on a full volume
	recordText   string
	recordSeen   *decide.Record

	// Totals of the world's activity, so that a simulation that no longer does anything is noticed.
	cuts, seeds, fetches, leaderships, reads, looks, undecided int
}

// newWorld draws a world from its seed.
func newWorld(seed uint64) *World {
	loop := NewLoop(seed)
	w := &World{
		ledger: newLedger(), seed: seed, loop: loop, net: loop.NewNet(), disks: map[types.UID]*Disk{}, members: map[string]*process{},
		history: loop.NewHistory(),
	}
	if loop.Chance(0.3) {
		w.net.Profile = Rough()
	}
	w.segment, w.troubled, w.mixed = 64<<10, usually, loop.Chance(0.25)
	w.retain, w.retainEvery = int64(8<<10)<<loop.Rand.IntN(6), loop.Between(100*time.Millisecond, 5*time.Second)
	if loop.Chance(0.3) { // long entries make the members prune their logs and leave followers behind
		w.pad = 200 << loop.Rand.IntN(4)
	}
	store := w.newStore()
	w.drawTheme(store)
	w.api = w.net.NewAPI(store)
	w.kubelets = w.api.NewKubelets(Hooks{Start: w.startMember, Stop: w.stopMember, PowerLost: w.powerLost, Wipe: w.wipe, Ready: w.ready})
	for _, name := range []string{"operator-a", "operator-b"} {
		w.ops = append(w.ops, w.api.NewOperator(name, w.control))
	}
	if loop.Chance(0.4) || w.theme.hasty {
		w.hasty()
	}
	for id := range clientCount {
		w.newClient(id)
	}
	w.faults.w = w
	return w
}

// hasty makes the operators act on little evidence, and often: safety depends on none of their timing.
func (w *World) hasty() {
	w.faults.hasty = true
	for _, o := range w.ops {
		o.Settings.SuspectAfter = w.latency(50*time.Millisecond, 500*time.Millisecond)
		o.Settings.VoterGoneAfter = w.latency(300*time.Millisecond, 3*time.Second)
		o.Settings.StandInAfter = w.latency(0, 500*time.Millisecond)
		o.Settings.LowerAfter = w.latency(50*time.Millisecond, time.Second)
	}
}

func (w *World) newStore() *v1alpha1.ReplicatedStore {
	rng := w.loop.Rand
	replicas := int32(2 + rng.IntN(3))
	k := int32(1 + rng.IntN(min(2, int(replicas)-1)))
	s := &v1alpha1.ReplicatedStore{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: storeName, Generation: 1, Annotations: map[string]string{annotationTemplate: "1"},
	}}
	switch n := rng.IntN(10); {
	case n == 0:
		k = 0
		s.Spec.Failover.DataLoss = v1alpha1.DataLossAllow
	case n <= 2:
		s.Spec.Replication.Synchronous.Durability = v1alpha1.DurabilityPreferred
	}
	s.Spec.Replicas, s.Spec.Replication.Synchronous.Number = &replicas, &k
	w.rule.K = int(k)
	return s
}

// latency returns a random duration.
func (w *World) latency(from, to time.Duration) time.Duration { return w.loop.Between(from, to) }

func (w *World) newIncarnation() string {
	w.incarnations++
	return fmt.Sprintf("data-%d", w.incarnations)
}

// disk returns the volume of a claim.
func (w *World) disk(claim types.UID) *Disk {
	d := w.disks[claim]
	if d == nil {
		d = w.loop.NewDisk(string(claim))
		w.disks[claim] = d
	}
	return d
}

func (w *World) startMember(name, host string, claim types.UID) {
	if _, err := w.start(name, host, w.disk(claim)); err != nil {
		if durable.IsNoSpace(err) {
			breaks("a full volume keeps %s from starting: %v", name, err)
		}
		if w.refusals++; w.refusals < 20 {
			w.loop.Logf("%s does not start: %v", name, err)
		}
		w.loop.After(w.latency(time.Millisecond, 20*time.Millisecond), w.net.Host(host).Process().Kill)
		return
	}
	w.loop.Logf("%s starts on %s with %v", name, host, w.members[host].m.Contents().Log.Last())
}

// stopMember delivers SIGTERM, which a frozen process does not see.
func (w *World) stopMember(_, host string) {
	if p := w.members[host]; p != nil {
		w.loop.After(0, func() {
			if w.members[host] == p && !p.os.Frozen() && !p.disk.Hung() {
				p.m.Leaves()
			}
			w.leave(host, p, &role.Leaving{})
		})
	}
}

// leave shuts a process down like a node that is told to stop: a leader goes on until it is relieved, or until its time is over.
func (w *World) leave(host string, p *process, leaving *role.Leaving) {
	if w.members[host] != p || p.os.Frozen() || p.disk.Hung() {
		return
	}
	if s, err := p.m.Status(context.Background()); err == nil && !leaving.May(s) {
		w.loop.After(50*time.Millisecond, func() { w.leave(host, p, leaving) })
		return
	}
	p.stop()
}

func (w *World) powerLost(_ string, claim types.UID) { w.disk(claim).Crash() }

func (w *World) wipe(claim types.UID) {
	w.loop.Logf("the volume of claim %s is gone", claim)
	w.disk(claim).Wipe()
}

func (w *World) ready(host string) bool {
	p := w.members[host]
	return p != nil && (p.m.Open() || p.m.Following())
}

func (w *World) control(host string) Control {
	if p := w.members[host]; p != nil {
		return p
	}
	return nil
}

// hosts returns the hosts of the running members, sorted.
func (w *World) hosts() []string { return slices.Sorted(maps.Keys(w.members)) }

// anyHost returns a random member's host, or "" if no member runs.
func (w *World) anyHost() string {
	hosts := w.hosts()
	if len(hosts) == 0 {
		return ""
	}
	return hosts[w.loop.Rand.IntN(len(hosts))]
}

// changed tells the operators that something in p changed.
func (w *World) changed(p *process) {
	for _, o := range w.ops {
		o.Changed(p.host)
	}
}

// whole reports whether the record is stable, one leader takes writes, and every other member votes and follows it.
func (w *World) whole() bool {
	rec, s := w.record(), w.api.Store()
	if rec == nil || rec.Phase != decide.PhaseStable || len(rec.Rules) != 1 {
		return false
	}
	size := int(*s.Spec.Replicas)
	if len(rec.Rules[0].Voters) != size-1 || rec.Rules[0].K != int(*s.Spec.Replication.Synchronous.Number) || len(w.members) != size || len(w.api.Pods()) != size {
		return false
	}
	leads := false
	for _, p := range w.members {
		switch {
		case p.disk.Hung():
			return false // nobody has noticed yet
		case p.self == rec.Leader:
			leads = p.m.Open()
		case p.m.Open() || !p.m.Following() || !slices.Contains(rec.Rules[0].Voters, p.self):
			return false
		}
	}
	return leads
}

// Durations in virtual time.
const (
	usually = 15 * time.Second // of faults
	healing = 3 * time.Minute
)

// run plays the world to its end. It panics with a violation when an invariant breaks.
func (w *World) run() {
	defer w.loop.Close()
	w.loop.RunUntil(w.whole, healing)
	w.faults.begin()
	w.loop.Run(w.loop.Now() + w.troubled)
	w.faults.end()
	if !w.loop.RunUntil(w.whole, w.loop.Now()+healing) {
		breaks("the store does not come back within %v after the faults ended: %s", healing, w.state())
	}
	w.lastWrite()
	w.quiet = true
	w.loop.Run(w.loop.Now() + 6*time.Second) // time for clients to hear the outcome of their last calls
	if w.lossy {
		return // after lost writes any history is possible
	}
	problems, undecided := w.history.Check(10 * time.Second)
	if len(problems) > 0 {
		breaks("12: %s", problems[0])
	}
	w.undecided += len(undecided)
}

// lastWrite checks that a whole store takes a write.
func (w *World) lastWrite() {
	before := w.acks
	if !w.loop.RunUntil(func() bool { return w.acks > before }, w.loop.Now()+30*time.Second) {
		breaks("no write is acknowledged although the store is whole: %s", w.state())
	}
}

// state describes the world for an error message.
func (w *World) state() string {
	out := "record " + w.api.RecordText()
	for _, o := range w.ops {
		out += fmt.Sprintf("\n%s leads %t: %v %s %s", o.Name(), o.Leads(), o.Plan.State, o.Plan.Reason, o.Plan.Message)
	}
	for _, h := range w.hosts() {
		p := w.members[h]
		core := p.m.Replica()
		out += fmt.Sprintf("\n%v on %s: %s, open %t, promises %+v, log %v durable %v, commit %d, applied %v, hung %t, problem %v",
			p.self, h, core.Role(), p.m.Open(), core.Promises(), p.m.Contents().Log.Last(), p.m.Contents().Log.Durable(), core.Commit(),
			p.state().mark, p.disk.Hung(), p.fatal)
	}
	return out
}
