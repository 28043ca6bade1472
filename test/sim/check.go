package sim

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// The checker sees everything. It asserts the invariants of docs/protocol.md after every step of a member. The numbers in its
// messages are those of that page.

// violation is the value that a broken invariant panics with.
type violation string

func breaks(format string, args ...any) { panic(violation(fmt.Sprintf(format, args...))) }

// witness is what the checker last saw of one data directory.
type witness struct {
	last, durable replication.Mark
	commit        replication.Position
	promised      replication.Epoch
	open          bool
	role          replication.Role
	barrier       replication.Position // of this leadership
	rules         uint64               // version of the rules that it leads by
}

// place is an (epoch, position).
type place struct {
	epoch    replication.Epoch
	position replication.Position
}

// ledger is what the checker remembers for the whole life of a world.
type ledger struct {
	leaders  map[replication.Epoch]string // by process: a leadership does not outlive its process
	chains   map[place]replication.Chain
	witness  map[replication.Voter]*witness
	acked    replication.Mark // end of the newest acknowledged record; its checksum identifies everything before it
	ackedBy  replication.Epoch
	newest   replication.Epoch // the newest epoch that took writes
	acks     int
	failures map[string]bool // members whose fsync failed and which must exit
}

func newLedger() ledger {
	return ledger{
		leaders: map[replication.Epoch]string{}, chains: map[place]replication.Chain{},
		witness: map[replication.Voter]*witness{}, failures: map[string]bool{},
	}
}

// opened checks a member that comes back after a restart.
func (w *World) opened(p *process) {
	x := w.witness[p.self]
	if x == nil {
		w.witness[p.self] = &witness{}
		return
	}
	x.open, x.role = false, ""
	if got := p.m.Replica().Promises().Promised; got < x.promised {
		breaks("2: %v promised epoch %d and came back with %d", p.self, x.promised, got)
	}
	log := p.m.Contents().Log
	if log.Last().Compare(x.durable) < 0 && log.First() <= x.durable.Position {
		breaks("4: the log of %v was durable to %v and came back with %v", p.self, x.durable, log.Last())
	}
	x.last, x.commit = log.Last(), p.m.Replica().Commit()
}

// renewed carries over what is known of a member that has taken a new incarnation.
func (w *World) renewed(p *process) {
	if self := p.m.Replica().Self(); self != p.self {
		x := *w.witness[p.self]
		w.witness[self], p.self = &x, self
	}
}

// promised records what a member answered to a fence.
func (w *World) promised(p *process, f wire.FenceReply) {
	w.renewed(p)
	x := w.witness[p.self]
	x.promised = max(x.promised, f.Promised)
	if log := p.m.Contents().Log; f.Last != log.Durable() {
		breaks("2: %v said under its promise that it holds %v, and holds %v", p.self, f.Last, log.Durable())
	}
}

// check asserts the invariants that must hold after a step of p.
func (w *World) check(p *process) {
	w.renewed(p)
	core, log, x := p.m.Replica(), p.m.Contents().Log, w.witness[p.self]
	if e := core.Promises().Promised; e < x.promised {
		breaks("2: %v promised epoch %d and goes by %d", p.self, x.promised, e)
	} else {
		x.promised = e
	}
	if r := core.Role(); r != x.role {
		x.role, x.barrier = r, log.Last().Position // a new leader has just appended its barrier
		w.counted(p)
		w.faults.ambush(p)
	}
	if core.Role() == replication.RoleLeader {
		if _, version := core.Rules(); version != x.rules {
			x.rules = version
			w.faults.ambush(p)
		}
		w.record() // the record may report accepted loss
		e := core.Promises().Epoch
		if was, ok := w.leaders[e]; ok && was != p.id {
			breaks("1: epoch %d is led by %s and by %s", e, was, p.id)
		}
		w.leaders[e] = p.id
		if core.Promises().NeedSeed {
			breaks("8: %v leads epoch %d and needs a seed", p.self, e)
		}
	}
	if last := log.Last(); last != x.last {
		w.grew(p, x, last)
	}
	x.durable = log.Durable()
	if c := core.Commit(); c > x.commit && x.role == replication.RoleLeader {
		if c < x.barrier {
			breaks("6: %v counts %d as committed before its barrier at %d", p.self, c, x.barrier)
		}
		w.counted(p)
	}
	x.commit = max(x.commit, core.Commit())
	open := p.m.Open()
	if open && !x.open {
		w.leads(p)
	}
	x.open = open
	if core.Role() == replication.RoleLeader && core.Writable() {
		w.acknowledge(p)
	}
}

// counted asserts that whatever a leader counts as held by a follower is really held there.
func (w *World) counted(p *process) {
	if w.record(); w.lossy {
		return // after accepted loss, a follower may already follow the next leader, whose log lacks those writes
	}
	log, core := p.m.Contents().Log, p.m.Replica()
	for _, f := range core.Followers(p.now()) {
		x := w.witness[f.Voter]
		if x != nil && x.promised > core.Promises().Epoch {
			// The follower acknowledged this before it promised, and may since have truncated what nobody committed (seed 40186).
			f.Durable = min(f.Durable, core.Commit())
		}
		if x == nil || x.durable.Position < f.Durable {
			breaks("4: %v counts %d at %v, which holds less", p.self, f.Durable, f.Voter)
		}
		for _, q := range w.members {
			if q.self != f.Voter {
				continue
			}
			here, ok := log.MarkAt(f.Durable)
			if there, retained := q.m.Contents().Log.MarkAt(f.Durable); ok && retained && here != there {
				breaks("4: %v counts %v at %v, which holds %v there", p.self, here, f.Voter, there)
			}
		}
	}
}

// alone asserts that of several leaders without voters only the newest makes progress: each earlier one has stopped by its own
// clock.
func (w *World) alone(p *process, e replication.Epoch, last replication.Mark) {
	rules, _ := p.m.Replica().Rules()
	if last.Epoch == e && e < w.newest && !slices.ContainsFunc(rules, func(r replication.Rule) bool { return r.K > 0 }) {
		breaks("1: without voters, %v writes %v in epoch %d after epoch %d was opened", p.self, last, e, w.newest)
	}
}

// grew checks a log whose end has moved.
func (w *World) grew(p *process, x *witness, last replication.Mark) {
	at := place{last.Epoch, last.Position}
	if was, ok := w.chains[at]; ok && was != last.Chain {
		breaks("3: (%d, %d) is %08x elsewhere and %08x at %v", at.epoch, at.position, was, last.Chain, p.self)
	}
	w.chains[at] = last.Chain
	if last.Position < x.commit && !w.lossy {
		breaks("7: %v cuts to %v, below its commit position %d", p.self, last, x.commit)
	}
	if last.Position < x.commit {
		x.commit = last.Position
	}
	if last.Compare(x.last) < 0 {
		w.cuts++
	}
	x.last = last
	if x.open {
		w.alone(p, p.m.Replica().Promises().Epoch, last)
	}
}

// leads checks a leader that begins to take writes: it must hold everything that was acknowledged.
func (w *World) leads(p *process) {
	w.leaderships++
	e, log := p.m.Replica().Promises().Epoch, p.m.Contents().Log
	w.newest = max(w.newest, e)
	if w.acked.Position == 0 || e < w.ackedBy {
		return
	}
	if m, ok := log.MarkAt(w.acked.Position); ok && m == w.acked || w.acked.Position < log.First()-1 {
		return
	}
	if w.lossy {
		w.acked = replication.Mark{}
		return
	}
	breaks("5: %v leads epoch %d from %v without the acknowledged %v", p.self, e, log.Last(), w.acked)
}

// acknowledge records what a writable leader has applied, which is what it acknowledges to clients.
func (w *World) acknowledge(p *process) {
	core, log := p.m.Replica(), p.m.Contents().Log
	at, e := p.m.Contents().State.Applied(), core.Promises().Epoch
	if at.Position <= w.acked.Position {
		if m, ok := log.MarkAt(w.acked.Position); ok && m != w.acked && at.Position == w.acked.Position && !w.lossy {
			breaks("3: %v in epoch %d acknowledges %v where %v was acknowledged", p.self, e, m, w.acked)
		}
		return
	}
	if e < w.ackedBy && w.rule.K == 0 && !w.lossy {
		breaks("1: without voters, %v acknowledges %v in epoch %d after epoch %d did", p.self, at, e, w.ackedBy)
	}
	if m, ok := log.MarkAt(w.acked.Position); ok && m != w.acked && !w.lossy {
		breaks("3: %v in epoch %d acknowledges %v, on another log than %v", p.self, e, at, w.acked)
	}
	w.holders(p, e, at)
	w.acked, w.ackedBy = at, max(e, w.ackedBy)
	w.acks++
}

// holders asserts that with the record now in the API every later election must involve a member that holds the log up to at:
// under at least one of the leadership's rules, at least K voters hold it durably.
func (w *World) holders(p *process, e replication.Epoch, at replication.Mark) {
	if p.m.Contents().Log.Durable().Compare(at) < 0 {
		breaks("4: %v acknowledges %v, durable there to %v", p.self, at, p.m.Contents().Log.Durable())
	}
	rec := w.record()
	if rec == nil || w.restored {
		return
	}
	for _, l := range rec.Leaderships() {
		if l.Epoch == e && !w.safe(l, at) {
			breaks("4: %v acknowledges %v in epoch %d, held by too few of %v", p.self, at, e, l.Rules)
		}
	}
}

func (w *World) safe(l replication.Leadership, at replication.Mark) bool {
	for _, r := range l.Rules {
		n := 0
		for _, v := range r.Voters {
			if x := w.witness[v]; x != nil && x.durable.Compare(at) >= 0 {
				n++
			}
		}
		if n >= r.K {
			return true
		}
	}
	return false
}

// applied records what a member applies: all members must apply the same.
func (w *World) applied(recs []replication.Record) {
	for i := range recs {
		if recs[i].Type != replication.RecordData || w.lossy {
			continue
		}
		for n, entry := range recs[i].Entries() {
			w.history.Committed(recs[i].First+replication.Position(n), entry[0], binary.LittleEndian.Uint64(entry[1:entrySize]))
		}
	}
}

// record returns the current authority record.
func (w *World) record() *decide.Record {
	text := w.api.RecordText()
	if text == "" {
		return nil
	}
	if text != w.recordText {
		rec, err := decide.DecodeRecord(text)
		if err != nil {
			breaks("the record is unreadable: %v", err)
		}
		w.recordText, w.recordSeen = text, rec
		if rec.WritesLost != "" && rec.WritesLost != v1alpha1.LostNone {
			w.lossy = true
		}
	}
	return w.recordSeen
}
