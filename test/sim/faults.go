package sim

import (
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// faults are the faults of a world, together with what its user asks for meanwhile. Each fault ends by itself after a while, or at
// the latest in end. Several may be active at once. The exception is the loss of a disk: it waits until the store is whole, and so
// does the next fault after it, because k = 1 promises no more than that.
type faults struct {
	w      *World
	over   bool
	mend   []func() // ends the active faults
	paused bool     // a disk was lost: no other fault until the store is whole
	// ambushes is the probability that a member which changes its role is struck at that moment.
	ambushes float64
	// hasty: faults follow each other quickly. patient: most faults wait for a whole store, so that each does its own harm.
	hasty, patient bool
	// restUntil is when slow operations have had their time. Patient faults wait for it, too.
	restUntil time.Duration
}

// begin starts the faults, at a pace drawn for this world.
func (f *faults) begin() {
	pace := f.w.latency(200*time.Millisecond, 2*time.Second)
	f.ambushes = []float64{0, 0, 0.1, 0.4}[f.w.loop.Rand.IntN(4)]
	if f.hasty {
		pace, f.ambushes = f.w.latency(50*time.Millisecond, 500*time.Millisecond), f.ambushes+0.2
	}
	if f.ambushes = max(f.ambushes, f.w.theme.ambushes); f.patient && f.w.theme.ambushes == 0 {
		f.ambushes /= 10
	}
	var next func()
	next = func() {
		if f.over {
			return
		}
		f.one()
		f.w.loop.After(f.w.latency(0, 2*pace), next)
	}
	f.w.loop.After(f.w.latency(0, pace), next)
}

// end heals everything and stops further faults.
func (f *faults) end() {
	f.over = true
	for _, mend := range f.mend {
		mend()
	}
	f.w.net.HealAll()
	f.w.net.Profile, f.w.net.Late, f.w.net.Twice = Calm(), 0, 0
	f.w.kubelets.RestoreNodes()
	f.w.loop.Logf("the faults are over")
}

// lasting arranges for mend to be called after a while, or in end. mend may be called twice.
func (f *faults) lasting(from, to time.Duration, mend func()) {
	f.mend = append(f.mend, mend)
	f.w.loop.After(f.w.latency(from, to), mend)
}

// ambush strikes a member at a critical moment, such as when it has just begun to lead, changed its rules or promised.
func (f *faults) ambush(p *process) {
	l := f.w.loop
	if f.over || f.paused || !l.Chance(f.ambushes) {
		return
	}
	strikes := []func(*faults, string){
		(*faults).kill, (*faults).losePower, (*faults).losePower, (*faults).freeze, (*faults).isolate, (*faults).rack, (*faults).rack,
	}
	strike := strikes[l.Rand.IntN(len(strikes))]
	l.After(l.Between(0, 30*time.Millisecond), func() {
		if f.w.members[p.host] == p && !f.over {
			l.Logf("FAULT in ambush:")
			strike(f, p.host)
		}
	})
}

// kind is one kind of fault. Its weight is how often it comes, relative to the others.
type kind struct {
	weight int
	do     func(f *faults, host string)
}

var faultKinds = []kind{
	{10, (*faults).kill}, {6, (*faults).losePower}, {6, (*faults).cut}, {6, (*faults).isolate}, {6, (*faults).cutAPI}, {5, (*faults).hide},
	{2, (*faults).orphan}, {3, (*faults).deafen}, {2, (*faults).strand}, {3, (*faults).split}, {3, (*faults).congest},
	{6, (*faults).freeze}, {4, (*faults).hang}, {3, (*faults).slowDisk}, {3, (*faults).fill}, {2, (*faults).failSync},
	{3, (*faults).apiDown}, {3, (*faults).apiBad}, {4, (*faults).killOperator}, {4, (*faults).pauseOperator},
	{3, (*faults).breakElection}, {3, (*faults).staleCache}, {2, (*faults).jumpClock}, {3, (*faults).askFailover},
	{2, (*faults).evict}, {1, (*faults).forceDelete}, {2, (*faults).scale}, {2, (*faults).changeK}, {1, (*faults).restart},
	{3, (*faults).loseDisk}, {1, (*faults).restoreOld},
}

func (f *faults) one() {
	if f.paused {
		f.paused = !f.w.whole()
		return
	}
	if f.patient && (!f.w.whole() || f.w.loop.Now() < f.restUntil) && f.w.loop.Chance(0.9) {
		return
	}
	kinds, total := faultKinds, 0
	if len(f.w.theme.kinds) > 0 && f.w.loop.Chance(0.8) {
		kinds = f.w.theme.kinds
	}
	for _, k := range kinds {
		total += k.weight
	}
	n := f.w.loop.Rand.IntN(total)
	host := f.w.anyHost()
	if f.w.loop.Chance(0.5) {
		host = f.leader(host)
	}
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			if host != "" {
				k.do(f, host)
			}
			return
		}
	}
}

// leader returns the host of a member that takes writes, if there is one, else otherwise.
func (f *faults) leader(otherwise string) string {
	for _, h := range f.w.hosts() {
		if f.w.members[h].m.Open() {
			return h
		}
	}
	return otherwise
}

func (f *faults) kill(host string) {
	f.w.loop.Logf("FAULT kill %s", f.w.members[host].name)
	f.w.net.Host(host).Kill()
}

func (f *faults) losePower(host string) {
	node := f.w.kubelets.Node(f.w.members[host].name)
	f.w.loop.Logf("FAULT %s loses power, with %s", node, f.w.members[host].name)
	f.w.kubelets.LoseNode(node)
	f.lasting(100*time.Millisecond, 10*time.Second, func() { f.w.kubelets.RestoreNode(node) })
}

// everybody returns every host that has an address.
func (f *faults) everybody() []string {
	out := append(f.w.hosts(), APIHost, "client-a", "client-b", "client-c")
	for _, o := range f.w.ops {
		out = append(out, o.Name())
	}
	return out
}

func (f *faults) cut(host string) {
	all := f.everybody()
	other := all[f.w.loop.Rand.IntN(len(all))]
	if f.w.loop.Chance(0.4) {
		f.w.loop.Logf("FAULT cut from %s to %s", host, other)
		f.w.net.Cut(host, other)
	} else {
		f.w.loop.Logf("FAULT cut between %s and %s", host, other)
		f.w.net.CutBoth(host, other)
	}
	f.lasting(100*time.Millisecond, 8*time.Second, func() { f.w.net.Heal(host, other); f.w.net.Heal(other, host) })
}

// isolate cuts a member off from some of the others, often from all: both sides carry on without each other.
func (f *faults) isolate(host string) {
	share := []float64{1, 1, 0.5}[f.w.loop.Rand.IntN(3)]
	f.w.loop.Logf("FAULT isolate %s from %v of the others", host, share)
	var cut []string
	for _, o := range f.everybody() {
		if o != host && f.w.loop.Chance(share) {
			f.w.net.CutBoth(host, o)
			cut = append(cut, o)
		}
	}
	f.lasting(200*time.Millisecond, 10*time.Second, func() {
		for _, o := range cut {
			f.w.net.Heal(host, o)
			f.w.net.Heal(o, host)
		}
	})
}

func (f *faults) cutAPI(host string) {
	f.w.loop.Logf("FAULT cut %s from the API", host)
	f.w.net.CutBoth(host, APIHost)
	f.lasting(time.Second, 12*time.Second, func() { f.w.net.Heal(host, APIHost); f.w.net.Heal(APIHost, host) })
}

// hide cuts a member off from the API and the operators, and from nobody else: its voters and its clients still hear it.
func (f *faults) hide(host string) {
	f.w.loop.Logf("FAULT hide %s from the API and the operators", host)
	from := []string{APIHost}
	for _, o := range f.w.ops {
		from = append(from, o.Name())
	}
	for _, o := range from {
		f.w.net.CutBoth(host, o)
	}
	f.lasting(5*time.Second, 14*time.Second, func() {
		for _, o := range from {
			f.w.net.Heal(host, o)
			f.w.net.Heal(o, host)
		}
	})
}

func (f *faults) freeze(host string) {
	p := f.w.members[host]
	f.w.loop.Logf("FAULT stop %s", p.name)
	p.os.Freeze()
	f.lasting(50*time.Millisecond, 8*time.Second, func() {
		if p.os.Frozen() {
			p.os.Thaw()
		}
	})
}

func (f *faults) hang(host string) {
	p := f.w.members[host]
	f.w.loop.Logf("FAULT the disk of %s hangs", p.name)
	p.disk.SetHung(true)
	f.lasting(100*time.Millisecond, 10*time.Second, func() {
		p.disk.SetHung(false)
		for _, q := range f.w.members {
			if q.disk == p.disk {
				q.os.After(0, q.diskBack)
			}
		}
	})
}

func (f *faults) slowDisk(host string) {
	p := f.w.members[host]
	p.slow = f.w.latency(5*time.Millisecond, 300*time.Millisecond)
	f.w.loop.Logf("FAULT the disk of %s is slow: %v", p.name, p.slow)
	f.lasting(time.Second, 10*time.Second, func() { p.slow = 0 })
}

// fill leaves a volume almost no room, or too little for data to grow. What a member has reserved by then must suffice for
// everything that it is asked to do: see process.fail, Fence and Promote.
func (f *faults) fill(host string) {
	p := f.w.members[host]
	if !p.reserved() {
		return // a new member has not reserved anything yet
	}
	left := int64(f.w.loop.Rand.IntN(8 << 10))
	if f.w.loop.Chance(0.3) {
		left = int64(f.w.loop.Rand.IntN(64 << 20))
	}
	f.w.loop.Logf("FAULT the disk of %s is full but for %d bytes", p.name, left)
	p.disk.Fill(left)
	f.lasting(time.Second, 8*time.Second, p.disk.Free)
}

func (f *faults) failSync(host string) {
	p := f.w.members[host]
	f.w.loop.Logf("FAULT an fsync of %s will fail", p.name)
	p.disk.FailSync(1 + f.w.loop.Rand.IntN(4))
	f.lasting(5*time.Second, 6*time.Second, func() { p.disk.FailSync(0) })
}

func (f *faults) apiDown(string) {
	f.w.loop.Logf("FAULT the API is down")
	f.w.api.SetDown(true)
	f.lasting(500*time.Millisecond, 12*time.Second, func() { f.w.api.SetDown(false) })
}

func (f *faults) apiBad(string) {
	f.w.loop.Logf("FAULT the API is slow and refuses")
	a, l := f.w.api, f.w.loop
	a.Slow, a.Conflicts, a.Busy, a.Lost = l.Between(0, time.Second), 0.2*l.Rand.Float64(), 0.2*l.Rand.Float64(), 0.2*l.Rand.Float64()
	f.lasting(time.Second, 8*time.Second, func() { a.Slow, a.Conflicts, a.Busy, a.Lost = 0, 0, 0, 0 })
}

func (f *faults) operator() *Operator { return f.w.ops[f.w.loop.Rand.IntN(len(f.w.ops))] }

func (f *faults) killOperator(string) {
	o := f.operator()
	f.w.loop.Logf("FAULT kill %s", o.Name())
	o.Kill()
}

func (f *faults) pauseOperator(string) {
	o := f.operator()
	f.w.loop.Logf("FAULT stop %s", o.Name())
	o.Pause(f.w.latency(100*time.Millisecond, 10*time.Second))
}

func (f *faults) breakElection(string) {
	f.w.loop.Logf("FAULT every operator leads")
	f.w.api.BreakElection(true)
	f.lasting(time.Second, 10*time.Second, func() { f.w.api.BreakElection(false) })
}

func (f *faults) staleCache(string) {
	o := f.operator()
	if c := o.Cache(); c != nil {
		f.w.loop.Logf("FAULT the cache of %s stands still", o.Name())
		c.Freeze(f.w.latency(time.Second, 8*time.Second))
	}
}

func (f *faults) jumpClock(host string) {
	d := f.w.latency(-2*time.Hour, 2*time.Hour)
	f.w.loop.Logf("FAULT the clock of %s jumps by %v", host, d)
	f.w.net.Host(host).Clock.Jump(d)
}

func (f *faults) askFailover(host string) {
	target := f.w.members[host].name
	if f.w.loop.Chance(0.3) {
		target = v1alpha1.FailoverToAny
	}
	f.w.loop.Logf("USER asks for %s to lead", target)
	f.w.api.EditStore(func(s *v1alpha1.ReplicatedStore) { s.Annotations[v1alpha1.AnnotationFailover] = target })
}

func (f *faults) evict(host string) {
	f.w.loop.Logf("USER evicts %s", f.w.members[host].name)
	f.w.api.Evict(f.w.members[host].name)
}

func (f *faults) forceDelete(host string) {
	f.w.loop.Logf("USER deletes pod %s by force", f.w.members[host].name)
	f.w.api.ForceDelete(f.w.members[host].name)
}

func (f *faults) scale(string) {
	f.w.api.EditStore(func(s *v1alpha1.ReplicatedStore) {
		n := int32(1 + f.w.loop.Rand.IntN(5))
		n = max(n, *s.Spec.Replication.Synchronous.Number+1)
		s.Spec.Replicas = &n
		f.w.loop.Logf("USER scales to %d", n)
	})
}

func (f *faults) changeK(string) {
	if f.w.rule.K == 0 {
		f.forbidLoss("") // a world without voters keeps none
		return
	}
	f.w.api.EditStore(func(s *v1alpha1.ReplicatedStore) {
		if *s.Spec.Replicas > 1 {
			k := 1 + int32(f.w.loop.Rand.IntN(int(*s.Spec.Replicas)-1))
			s.Spec.Replication.Synchronous.Number = &k
			f.w.loop.Logf("USER sets k to %d", k)
		}
	})
}

func (f *faults) restart(string) {
	f.w.loop.Logf("USER changes the pods' template")
	f.w.api.EditStore(func(s *v1alpha1.ReplicatedStore) { s.Annotations[annotationTemplate] += "+" })
}

// loseDisk replaces a member's volume, but only in a whole store, so that this is the only failure.
func (f *faults) loseDisk(host string) {
	if !f.w.whole() || f.w.rule.K == 0 {
		return
	}
	p := f.w.members[host]
	f.w.loop.Logf("FAULT %s loses its disk", p.name)
	f.w.net.Host(host).Kill()
	p.disk.Wipe()
	f.paused = true
}

// restoreOld restores an older record, but only in a whole store that no leader without voters could fork.
func (f *faults) restoreOld(string) {
	s := f.w.api.Store()
	if !f.w.whole() || f.w.rule.K == 0 || s.Spec.Replication.Synchronous.Durability == v1alpha1.DurabilityPreferred {
		return
	}
	f.w.restored = f.w.api.RestoreOld(false) || f.w.restored
	f.paused = true
}
