package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
)

// Loss says which acknowledged writes elections may have given up.
type Loss struct {
	// Epoch is the epoch of the newest such election.
	Epoch replication.Epoch `json:"epoch"`
	// Members may hold those writes: a leadership counted on them, and they were not fenced.
	Members []string `json:"members,omitempty"`
}

// and returns l with the loss of another election added; l may be nil.
func (l *Loss) and(e replication.Epoch, members []string) *Loss {
	if l != nil {
		members = append(slices.Clone(l.Members), members...)
	}
	slices.Sort(members)
	return &Loss{e, slices.Compact(members)}
}

// unseen returns the members that the record counts on and that may have acknowledged what ev does not hold.
func (ev evidence) unseen(rec Record) []string {
	out := ev.without(rec.EveryMember)
	for _, l := range ev.unsettled(rec) {
		if l.Inert() || l.Fenced(ev.has) {
			continue
		}
		counted := []replication.Voter{l.Leader}
		for _, r := range l.Rules {
			counted = append(counted, r.Voters...)
		}
		for _, v := range counted {
			if !ev.has(v) {
				out = append(out, v.Member)
			}
		}
	}
	return out
}

// lossKept returns the Lost of a record that is made anew for epoch e. Nobody can tell any more whether the entries that
// members have in quarantine were acknowledged, so all of these members count.
func (d *decision) lossKept(old Record, e replication.Epoch) *Loss {
	var keep []string
	for _, m := range d.Members {
		if s := m.Probe.Status; s != nil && s.Quarantined > 0 {
			keep = append(keep, m.Name)
		}
	}
	if len(keep) == 0 {
		return old.Lost
	}
	return old.Lost.and(e, keep)
}

// lossPatience is how long nobody must have held anything of what was lost before the record drops the loss. A member
// recounts what it cut, and what people removed of that, within seconds; an alert is evaluated about once a minute.
const lossPatience = 5 * time.Minute

// forgetLoss removes the loss of acknowledged writes from the record once nothing of them is kept: every member that may
// hold the only copy is back and follows, so that its extra entries were cut, or has no volume any more, and no member
// has anything in quarantine.
func (d *decision) forgetLoss(rec Record) (Plan, bool) {
	if rec.Lost == nil || d.keepsWrites(rec) || !d.lastingQuietly("nothing is kept of what was lost", lossPatience) {
		return Plan{}, false
	}
	p := plan(Settling, v1alpha1.ReasonStable, "No member holds any of the acknowledged writes that may have been lost in epoch %d: the loss is no longer reported.", rec.Lost.Epoch)
	rec.Lost = nil
	return p.do(d.write(rec)), true
}

func (d *decision) keepsWrites(rec Record) bool {
	for _, m := range d.Members {
		if s := m.fresh(); s != nil && s.Quarantined > 0 {
			return true
		}
	}
	return len(d.uncut(rec)) > 0
}

// uncut returns the members whose logs may hold the only copy of what was lost: they have a pod or a claim and, as far as
// can be seen, do not follow yet.
func (d *decision) uncut(rec Record) (out []string) {
	if rec.Lost == nil {
		return nil
	}
	led := d.Members[rec.Leader.Member].leads(rec)
	for _, name := range rec.Lost.Members {
		m := d.Members[name]
		away := m.fresh() == nil || led && !m.leads(rec) && !d.keepsUp(rec, m)
		if away && (m.Pod != nil || m.Claim != nil) {
			out = append(out, name)
		}
	}
	return out
}

// keptWrites reports entries that may have been acknowledged and that the store does not have. It also names members that
// may hold such entries and are missing.
func (d *decision) keptWrites(rec Record, quarantined []string) judgement {
	var texts []string
	if len(quarantined) > 0 && d.acknowledgedAlone(rec) {
		texts = append(texts, "Entries that a rejoin cut from the log may have been acknowledged and are kept in quarantine: "+strings.Join(quarantined, ", ")+
			". In the pod, `/node quarantine list` and `export` with `--data /data/store` show them; `remove --all` deletes them, which clears this warning.")
	}
	if only := d.onlyCopy(rec); only != "" {
		texts = append(texts, only)
	}
	return judgement{len(texts) > 0, v1alpha1.ReasonWritesQuarantined, strings.Join(texts, " ")}
}

// onlyCopy warns of entries that only members which do not follow may hold. It returns "" if there are no such members.
func (d *decision) onlyCopy(rec Record) string {
	names := d.uncut(rec)
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("Epoch %d may have begun without some acknowledged writes, and %s may have the only copy of them: "+
		"bring it back to keep them in quarantine; or give them up: "+
		"annotate its pod with %s, or delete its claim and then its pod.%s", rec.Lost.Epoch, strings.Join(names, " or "), v1alpha1.AnnotationReseed, d.keptClaims(names))
}

// keptClaims says that claims of members that were scaled away are kept for what they may hold, although the retention
// policy would delete them. It returns "" if there are none.
func (d *decision) keptClaims(members []string) string {
	kept := slices.DeleteFunc(slices.Clone(members), func(name string) bool {
		m := d.Members[name]
		return m.Pod != nil || !m.keepsVolume()
	})
	if len(kept) == 0 || d.Store.Spec.Storage.RetentionPolicy.WhenScaled != v1alpha1.DeleteClaim {
		return ""
	}
	return fmt.Sprintf(" Until then the claims of %s are kept, although spec.storage.retentionPolicy.whenScaled is Delete; a higher spec.replicas brings "+
		"their members back.", strings.Join(kept, ", "))
}

// noteKept records that a member about to be scaled away has entries in quarantine that may have been acknowledged: once
// its pod is gone, nobody reports what its volume holds.
func (d *decision) noteKept(rec Record, m Member) (Plan, bool) {
	s := m.Probe.Status
	if s == nil || s.Quarantined == 0 || !d.acknowledgedAlone(rec) || rec.Lost != nil && slices.Contains(rec.Lost.Members, m.Name) {
		return Plan{}, false
	}
	epoch := rec.Epoch
	if rec.Lost != nil {
		epoch = rec.Lost.Epoch
	}
	rec.Lost = rec.Lost.and(epoch, []string{m.Name})
	return plan(ScalingDown, v1alpha1.ReasonScalingDown, "Before %s is removed, the record notes that its quarantine holds entries that may have been acknowledged.", m.Name).do(d.write(rec)), true
}

// acknowledgedAlone reports whether entries that were cut from a log may have been acknowledged: under k = 0, or where an
// election gave up writes that were not provably safe. Otherwise they never were; they are kept, but are no reason to
// worry.
func (d *decision) acknowledgedAlone(rec Record) bool {
	rule, ok := rec.Rule()
	return ok && rule.K == 0 || rec.Lost != nil
}
