package decide

import (
	"fmt"
	"hash/fnv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// UpdateFailures counts the handovers of an update that failed in a row: whoever took over did not lead for long. A new
// image that only fails once it leads shows in no other way: its followers run, so the update goes on to the leader, and
// each attempt costs a failover. The count is part of the record, so that an operator's restart does not start it over.
type UpdateFailures struct {
	InARow int `json:"inARow"`
	// Member was to lead at the newest attempt.
	Member string `json:"member"`
	// Template is what its pod was made from (see Observed.template). The failures no longer count once there is another.
	Template string `json:"template"`
	// At is when the newest attempt failed, on the clock of the operator that noticed. It only paces the attempts.
	At metav1.MicroTime `json:"at"`
}

// lastsAfter is how long a member must have led before its template counts as one that can lead.
const lastsAfter = time.Minute

// provesFor is how long the first leader with a new template must have led before the former leader is restarted: if the
// template cannot lead, nobody else can.
const provesFor = 10 * time.Second

// Pauses between handovers of an update that fail. They are longer than those of handoverRests: each costs a failover.
const (
	firstUpdateRest = time.Minute
	lastUpdateRest  = time.Hour
)

// template identifies what a pod of m is made from now: the spec and the newest restart request. Its length is bounded.
func (o Observed) template(m Member) string {
	restart := fnv.New64a()
	_, _ = restart.Write([]byte(o.Store.Annotations[v1alpha1.AnnotationRestart])) // never fails
	return fmt.Sprintf("%s/%x", m.SpecHash, restart.Sum64())
}

// updateFailures returns the failures that still count; nil if there are none. They no longer count once the template has
// changed, or once a member made from it has led for long enough.
func (d *decision) updateFailures(rec Record) *UpdateFailures {
	f, leader := rec.UpdateFailures, d.Members[rec.Leader.Member]
	if f == nil || d.template(d.Members[f.Member]) != f.Template || d.lasted(rec) && leader.Pod != nil && !d.Outdated(leader) {
		return nil
	}
	return f
}

// lasted reports whether the leader has taken writes for long enough. The measure uses the clocks of possibly different
// operators, which can only lengthen or shorten a pause.
func (d *decision) lasted(rec Record) bool {
	return rec.Phase == PhaseStable && rec.Since.Writable != nil && d.now.Sub(rec.Since.Writable.Time) >= lastsAfter
}

// proves returns for how long the leader, with the new template, is to have led before the former leader is restarted, because
// it is too soon to tell whether its template can lead: an update has just handed over to it, or it leads although others with
// its template did not last. 0 means that nothing is to be waited for.
func (d *decision) proves(rec Record) time.Duration {
	leader := d.Members[rec.Leader.Member]
	switch {
	case leader.Pod == nil || d.Outdated(leader):
		return 0
	case d.updateFailures(rec) != nil: // it has not lasted yet
		return lastsAfter
	case d.proving(rec):
		return provesFor
	default:
		return 0
	}
}

// proving reports whether an update has just handed over to the leader.
func (d *decision) proving(rec Record) bool {
	if rec.Kind != v1alpha1.KindHandover || rec.Reason != reasonUpdating || rec.Since.Writable == nil {
		return false
	}
	led := d.now.Sub(rec.Since.Writable.Time)
	return led >= 0 && led < provesFor
}

// updateFailed returns the failures with another one if the handover of an update that rec describes comes to nothing now:
// its target is not elected, or is to be replaced before it has led for long. A target whose template has changed meanwhile
// says nothing about the new one.
func (d *decision) updateFailed(rec Record) *UpdateFailures {
	f, m := d.updateFailures(rec), d.Members[rec.Target]
	if rec.Kind != v1alpha1.KindHandover || rec.Reason != reasonUpdating || rec.Phase != PhaseFencing && rec.Leader.Member != rec.Target ||
		d.lasted(rec) || d.Outdated(m) {
		return f
	}
	next := UpdateFailures{InARow: 1, Member: rec.Target, Template: d.template(m), At: *d.micro()}
	if f != nil {
		next.InARow += f.InARow
	}
	return &next
}

// updateRests returns how long the operator still refrains from handing over to a member with the new template.
func (d *decision) updateRests(rec Record) time.Duration {
	f := d.updateFailures(rec)
	if f == nil {
		return 0
	}
	ago := d.now.Sub(f.At.Time)
	if ago < 0 { // another operator's clock
		return 0
	}
	return max(0, doubled(firstUpdateRest, lastUpdateRest, f.InARow)-ago)
}

// doubled returns the pause after n attempts that failed in a row, n >= 1: first after one, twice as long after each
// further one, and last at most.
func doubled(first, last time.Duration, n int) time.Duration {
	for ; n > 1 && first < last; n-- {
		first *= 2
	}
	return min(first, last)
}

func (f UpdateFailures) describe(rest time.Duration) string {
	times := "The last handover of this update"
	if f.InARow > 1 {
		times = fmt.Sprintf("The last %d handovers of this update", f.InARow)
	}
	return fmt.Sprintf("%s failed: a member with the new template did not lead for %s (last: %s). See how it ended (kubectl describe pod %s, "+
		"kubectl logs %s --previous), and correct the template or take the change back, which is acted on at once; otherwise the next attempt is in %s",
		times, lastsAfter, f.Member, f.Member, f.Member, round(rest))
}
