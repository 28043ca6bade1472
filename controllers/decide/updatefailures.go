package decide

import (
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// LeadFailures counts attempts that failed in a row: a member was to lead, and did not do so for long. Each costs a failover.
// The count is part of the record, so that an operator's restart does not start it over.
//
// Those of an update tell of a new image that only fails once it leads. This shows in no other way: its followers run, so the
// update goes on to the leader.
type LeadFailures struct {
	// InARow is the number of attempts; see updateFailed and homeFailed.
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

// provesFor is how long a leader with the new template must have led before others are restarted: if the template cannot
// lead, nobody else can.
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
func (d *decision) updateFailures(rec Record) *LeadFailures {
	f, leader := rec.UpdateFailures, d.Members[rec.Leader.Member]
	if f == nil || d.template(d.Members[f.Member]) != f.Template || d.lasted(rec) && leader.Pod != nil && !d.Outdated(leader) {
		return nil
	}
	return f
}

// since returns how long ago t was; it is not nil. The measure uses the clocks of possibly different operators. If the earlier
// one is ahead, the difference counts: by a little, that lengthens a wait a little, and by a lot, the wait is over.
func (d *decision) since(t *metav1.MicroTime) time.Duration { return d.now.Sub(t.Time).Abs() }

// lasted reports whether the leader has taken writes for long enough. One that does not renew its Lease is replaced within
// twice the duration of that.
func (d *decision) lasted(rec Record) bool {
	return rec.Phase == PhaseStable && rec.Since.Writable != nil && d.since(rec.Since.Writable) >= max(lastsAfter, 2*d.leaseDuration())
}

// proves returns for how long the leader, with the new template, is to have led before others are restarted, because it is
// too soon to tell whether its template can lead. It does not matter how it came to lead: the members that an update is still
// to restart may be the only ones that can. 0 means that nothing is to be waited for. A leader that does not come to take
// writes may need the others for that, so it is not waited for for long.
func (d *decision) proves(rec Record) time.Duration {
	leader := d.Members[rec.Leader.Member]
	switch {
	case leader.Pod == nil || d.Outdated(leader):
		return 0
	case rec.Phase != PhaseStable || rec.Since.Writable == nil:
		if elected := rec.Since.Fenced; elected != nil && d.since(elected) < provesFor {
			return provesFor
		}
		return 0
	case d.updateFailures(rec) != nil: // it has not lasted yet
		return lastsAfter
	case d.since(rec.Since.Writable) < provesFor:
		return provesFor
	default:
		return 0
	}
}

// updateFailed returns the failures with another one if the leadership or the handover that rec describes comes to nothing
// now, in an update: the member with the new template is not elected, or is to be replaced before it has led for long. It does
// not matter how it came to lead. These say nothing about the template: a member whose pod is gone or being deleted, and one
// whose template has changed meanwhile.
//
// While the operator refrains from attempts anyway, another failure begins the same pause anew. Only attempts of the update
// lengthen it.
func (d *decision) updateFailed(rec Record) *LeadFailures {
	f, m := d.updateFailures(rec), d.Members[rec.Leader.Member]
	if rec.Phase == PhaseFencing && rec.Kind == v1alpha1.KindHandover {
		m = d.Members[rec.Target]
	}
	if m.Pod == nil || m.Pod.Deleting || d.Outdated(m) || d.lasted(rec) || !d.updates(rec) {
		return f
	}
	next := LeadFailures{InARow: 1, Member: m.Name, Template: d.template(m), At: *d.micro()}
	if f != nil {
		next.InARow = f.InARow
		if d.updateRests(rec) == 0 {
			next.InARow++
		}
	}
	return &next
}

// updates reports whether rec describes a handover of an update, or members are still to be restarted for one.
func (d *decision) updates(rec Record) bool {
	return rec.Kind == v1alpha1.KindHandover && rec.Reason == reasonUpdating ||
		slices.ContainsFunc(d.roster(rec), func(m Member) bool { return d.Outdated(m) && !m.Pod.Deleting })
}

// updateRests returns how long the operator still refrains from handing over to a member with the new template.
func (d *decision) updateRests(rec Record) time.Duration {
	f := d.updateFailures(rec)
	if f == nil {
		return 0
	}
	return f.rest(d.now, firstUpdateRest, lastUpdateRest, f.InARow)
}

// rest returns what is left now of the pause after n attempts that failed in a row; see doubled. There is none after 0.
func (f LeadFailures) rest(now time.Time, first, last time.Duration, n int) time.Duration {
	ago := now.Sub(f.At.Time)
	if n == 0 || ago < 0 { // another operator's clock
		return 0
	}
	return max(0, doubled(first, last, n)-ago)
}

// doubled returns the pause after n attempts that failed in a row, n >= 1: first after one, twice as long after each
// further one, and last at most.
func doubled(first, last time.Duration, n int) time.Duration {
	for ; n > 1 && first < last; n-- {
		first *= 2
	}
	return min(first, last)
}

func (f LeadFailures) describe(rest time.Duration) string {
	times := "The last attempt"
	if f.InARow > 1 {
		times = fmt.Sprintf("The last %d attempts", f.InARow)
	}
	return fmt.Sprintf("%s to let a member with the new template lead failed: it did not lead for %s (last: %s). See how it ended (kubectl describe pod %s, "+
		"kubectl logs %s --previous), and correct the template or take the change back, which is acted on at once; otherwise the next attempt is in %s",
		times, lastsAfter, f.Member, f.Member, f.Member, round(rest))
}
