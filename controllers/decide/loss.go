package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
)

// Loss is what elections may have given up of what was acknowledged.
type Loss struct {
	// Epoch of the newest such election.
	Epoch replication.Epoch `json:"epoch"`
	// Members that may have it: those that a leadership counted on and that were not fenced.
	Members []string `json:"members,omitempty"`
}

// and is what was lost before, and now.
func (l *Loss) and(e replication.Epoch, members []string) *Loss {
	if l != nil {
		members = append(slices.Clone(l.Members), members...)
	}
	slices.Sort(members)
	return &Loss{e, slices.Compact(members)}
}

// unseen are the members that the record counts on and that may have acknowledged what ev does not hold.
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

// lossKept is the Lost of a record that is made anew for epoch e: of what members have in quarantine nobody can tell any more whether it was
// acknowledged.
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

// lossPatience is how long nobody must have had anything of what was lost before that is told no more. A member counts what it cut, and
// what people removed of that, within seconds; and what wakes a person looks every minute or so.
const lossPatience = 5 * time.Minute

// forgetLoss ends that the record tells of acknowledged writes that were lost: whoever may have them alone is back and follows, so that
// they are cut, or has no volume any more; and nobody has anything in quarantine.
func (d *decision) forgetLoss(rec Record) (Plan, bool) {
	if rec.Lost == nil || d.keepsWrites(rec) || !d.lastingQuietly("nothing is kept of what was lost", lossPatience) {
		return Plan{}, false
	}
	p := plan(Settling, v1alpha1.ReasonStable, "Nobody has anything of the acknowledged writes that may have been lost in epoch %d: it is told no more.", rec.Lost.Epoch)
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

// uncut are the members that may have the only copy of what was lost, in their logs: they have a volume, and do not follow yet, as far as
// can be seen.
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

// keptWrites tells of entries that may have been acknowledged and that the store does not have. Whoever may have them and is missing is told of
// where it is missed, too.
func (d *decision) keptWrites(rec Record, quarantined []string) judgement {
	var texts []string
	if len(quarantined) > 0 && d.acknowledgedAlone(rec) {
		texts = append(texts, "Entries cut by a rejoin, which may have been acknowledged, are kept for a person: "+strings.Join(quarantined, ", ")+
			". In the pod, `/node quarantine list` and `export` with `--data /data/store` show them, and `remove --all` ends this.")
	}
	if only := d.onlyCopy(rec); only != "" {
		texts = append(texts, only)
	}
	return judgement{len(texts) > 0, v1alpha1.ReasonWritesQuarantined, strings.Join(texts, " ")}
}

// onlyCopy warns of what members that do not follow may have alone; "" where that is nothing.
func (d *decision) onlyCopy(rec Record) string {
	names := d.uncut(rec)
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("Epoch %d may have begun without acknowledged writes, of which %s may have the only copy: bring it back, and what it has alone is kept "+
		"in quarantine; or give them up, by annotating its pod with %s, or deleting its claim and then its pod.%s", rec.Lost.Epoch, strings.Join(names, " or "), v1alpha1.AnnotationReseed, d.keptClaims(names))
}

// keptClaims says that claims of members that were scaled away are kept for what they may hold, where they would go otherwise; "" where none is.
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

// noteKept has the record tell that a member which is scaled away has entries in quarantine that may have been acknowledged: once its pod is
// gone, nobody answers for its volume.
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
	return plan(ScalingDown, v1alpha1.ReasonScalingDown, "%s is to be removed; the record tells first that entries which may have been acknowledged are in its quarantine.", m.Name).do(d.write(rec)), true
}

// acknowledgedAlone tells whether entries that were cut from a log may have been acknowledged: under k = 0, or where an election
// gave up what was not provably safe. Otherwise they never were, and are kept but no reason to worry.
func (d *decision) acknowledgedAlone(rec Record) bool {
	rule, ok := rec.Rule()
	return ok && rule.K == 0 || rec.Lost != nil
}
