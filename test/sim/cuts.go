package sim

import "time"

// orphan cuts a member off from everybody but its clients, which may take it for the leader still.
func (f *faults) orphan(host string) {
	host = f.leader(host)
	f.w.loop.Logf("FAULT orphan %s: only clients reach it", host)
	var from []string
	for _, o := range f.servers() {
		if o != host {
			from = append(from, o)
		}
	}
	f.apart([]string{host}, from, 8*time.Second)
}

// split cuts the network in two: members, clients and operators are on one side or on the other.
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
	f.apart(a, b, 8*time.Second)
}

// deafen has orders to some members vanish on their way, and to others arrive; all answer questions, if not each time.
func (f *faults) deafen(string) {
	var deaf []string
	for _, h := range f.w.hosts() {
		if f.w.loop.Chance(0.5) {
			deaf = append(deaf, h)
		}
	}
	f.muffle(deaf)
}

// strand keeps a leader from renewing its Lease, and from being told so: it is cut off from the API, and deaf as some others are.
func (f *faults) strand(host string) {
	host = f.leader(host)
	deaf := []string{host}
	for _, h := range f.w.hosts() {
		if h != host && f.w.loop.Chance(0.3) {
			deaf = append(deaf, h)
		}
	}
	f.w.loop.Logf("FAULT strand %s", host)
	f.apart([]string{host}, []string{APIHost}, 12*time.Second)
	f.muffle(deaf)
}

func (f *faults) muffle(deaf []string) {
	f.w.loop.Logf("FAULT %v hear no orders", deaf)
	for _, h := range deaf {
		f.w.net.Host(h).SetDeaf(true)
	}
	f.lasting(500*time.Millisecond, 12*time.Second, func() {
		for _, h := range deaf {
			f.w.net.Host(h).SetDeaf(false)
		}
	})
}

// servers is everybody but the clients.
func (f *faults) servers() []string {
	out := append(f.w.hosts(), APIHost)
	for _, o := range f.w.ops {
		out = append(out, o.Name())
	}
	return out
}

// apart cuts whatever goes between two groups.
func (f *faults) apart(some, others []string, most time.Duration) {
	f.between(some, others, f.w.net.CutBoth)
	f.lasting(300*time.Millisecond, most, func() {
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
