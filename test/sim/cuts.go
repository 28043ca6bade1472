package sim

import "time"

// orphan cuts a leader off from everybody but its clients, which may still believe in it. Its open connections to the others are
// reset, and everything sent from then on vanishes. Instead of being cut off, operators may be refused, as if no process were
// there.
func (f *faults) orphan(host string) {
	host = f.leader(host)
	d := f.w.latency(300*time.Millisecond, 8*time.Second)
	others := append(f.w.hosts(), APIHost)
	for _, o := range f.w.ops {
		others = append(others, o.Name())
	}
	if h := f.w.net.Host(host); f.w.loop.Chance(0.7) {
		others = others[:len(others)-len(f.w.ops)]
		h.SetShut(true)
		f.lasting(d, d, func() { h.SetShut(false) })
	}
	f.w.loop.Logf("FAULT orphan %s: only clients reach it", host)
	f.apart([]string{host}, others, d)
	for _, o := range others {
		f.w.net.Reset(host, o)
	}
}

// split partitions the network: members, clients and operators are each on one side or the other.
func (f *faults) split(string) {
	var a, b []string
	for _, o := range f.everybody() {
		if f.w.loop.Chance(0.5) {
			a = append(a, o)
		} else {
			b = append(b, o)
		}
	}
	f.w.loop.Logf("FAULT %v are cut off from %v", a, b)
	f.apart(a, b, f.w.latency(300*time.Millisecond, 8*time.Second))
}

// congest delays everything that a leader sends to one other member. That member lags but still hears the leader.
func (f *faults) congest(to string) {
	from := f.leader("")
	if from == "" || from == to {
		return
	}
	late := f.w.latency(50*time.Millisecond, time.Second)
	f.w.loop.Logf("FAULT what %s sends to %s is %v late", from, to, late)
	f.w.net.Slow(from, to, late)
	f.lasting(time.Second, 10*time.Second, func() { f.w.net.Slow(from, to, 0) })
}

// rack cuts a member off together with some of the others, which it can still reach.
func (f *faults) rack(host string) {
	in, out := []string{host}, []string(nil)
	for _, o := range f.everybody() {
		if _, member := f.w.members[o]; o == host {
			continue
		} else if member && f.w.loop.Chance(0.5) {
			in = append(in, o)
		} else {
			out = append(out, o)
		}
	}
	f.w.loop.Logf("FAULT %v are cut off from everybody else", in)
	f.apart(in, out, f.w.latency(300*time.Millisecond, 8*time.Second))
}

// deafen makes orders to some members vanish on their way, while orders to others arrive. All members still answer questions, if
// not every time.
func (f *faults) deafen(string) {
	if f.w.loop.Now() < f.restUntil {
		return // its end would cut short what already holds
	}
	var deaf []string
	for _, h := range f.w.hosts() {
		if f.w.loop.Chance(0.5) {
			deaf = append(deaf, h)
		}
	}
	f.muffle(deaf, f.w.latency(500*time.Millisecond, 8*time.Second))
}

// strand keeps a leader from renewing its Lease and from hearing about it: it is cut off from the API, and deaf, as some of the
// others are.
func (f *faults) strand(host string) { f.strandFor(host, f.w.latency(3*time.Second, 10*time.Second)) }

// maroon is strand for long enough that the Lease, at its shortest, counts as lost beyond doubt.
func (f *faults) maroon(host string) { f.strandFor(host, f.w.latency(7*time.Second, 12*time.Second)) }

func (f *faults) strandFor(host string, d time.Duration) {
	if f.w.loop.Now() < f.restUntil {
		return
	}
	host = f.leader(host)
	deaf := []string{host}
	for _, h := range f.w.hosts() {
		if h != host && f.w.loop.Chance(0.3) {
			deaf = append(deaf, h)
		}
	}
	f.w.loop.Logf("FAULT strand %s", host)
	f.apart([]string{host}, []string{APIHost}, d)
	f.muffle(deaf, d)
	f.restUntil = f.w.loop.Now() + d
}

func (f *faults) muffle(deaf []string, d time.Duration) {
	f.w.loop.Logf("FAULT %v hear no orders", deaf)
	for _, h := range deaf {
		f.w.net.Host(h).SetDeaf(true)
	}
	f.lasting(d, d, func() {
		for _, h := range deaf {
			f.w.net.Host(h).SetDeaf(false)
		}
	})
}

// apart cuts everything between two groups.
func (f *faults) apart(some, others []string, d time.Duration) {
	f.between(some, others, f.w.net.CutBoth)
	f.lasting(d, d, func() {
		f.between(some, others, func(a, b string) { f.w.net.Heal(a, b); f.w.net.Heal(b, a) })
	})
}

func (f *faults) between(some, others []string, do func(a, b string)) {
	for _, a := range some {
		for _, b := range others {
			do(a, b)
		}
	}
}
