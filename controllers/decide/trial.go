package decide

import (
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// Trial is the API server's answer, in a dry run, to a pod made from the present template. The zero value means that it was
// not asked.
type Trial struct {
	Asked bool
	// Member is the member whose pod was tried.
	Member string
	Ago    time.Duration
	// Refused is why the API server rejects such a pod, or why it could not say; "" if it accepts one.
	Refused string
	// Unclear: the API server could not say.
	Unclear bool
}

// How long the result of a trial holds, so that not every look at an update costs a request.
const (
	trialHolds   = 30 * time.Second
	unclearAgain = 5 * time.Second
)

// rests is how long not to ask the API server about a member again. That it accepts one pod says nothing about the next: a
// quota may have no room for that one.
func (t Trial) rests(member string) time.Duration {
	switch {
	case !t.Asked, t.Refused == "" && t.Member != member:
		return 0
	case t.Unclear:
		return max(0, unclearAgain-t.Ago)
	default:
		return max(0, trialHolds-t.Ago)
	}
}

// try has the API server asked whether it accepts a pod of the present template, before a member with an outdated pod loses
// that pod; it returns false if it does. A member whose new pod is refused would be away until somebody mends the spec. If
// the answer is unclear, as while a webhook is down, the pod could not be made either, so try waits for that too.
func (d *decision) try(rec Record, m Member) (Plan, bool) {
	t, n := d.Trial, 0
	for _, o := range d.roster(rec) {
		if d.Outdated(o) {
			n++
		}
	}
	rest := t.rests(m.Name)
	var p Plan
	switch {
	case t.Refused == "" && rest > 0:
		return Plan{}, false
	case t.Refused == "":
		p = plan(Updating, v1alpha1.ReasonUpdating, "%s; asking the API server first whether it accepts the new pods.", toBeRestarted(n))
	case t.Unclear:
		p = plan(Updating, v1alpha1.ReasonApplyFailed, "%s, but the API server cannot say whether it accepts the new pods: %s. "+
			"No member is restarted until it can.", toBeRestarted(n), t.Refused)
	default:
		p = plan(Updating, v1alpha1.ReasonApplyFailed, "%s, but the API server rejects the new pods: %s. No member is restarted.",
			toBeRestarted(n), t.Refused)
	}
	if rest > 0 {
		return p.again(rest), true
	}
	return p.do(TryPod{m.Name, m.Ordinal}), true
}

// trialForgotten is after how long a trial is dropped: one that still matters is renewed before.
const trialForgotten = 2 * time.Minute

// Tried is the newest trial of a pod. The zero value means that there was none.
type Tried struct {
	template string
	trial    Trial
	at       time.Time
}

// TriedAt returns the trial of a member's pod at a time. template tells the pods of one template from those of another.
func TriedAt(now time.Time, member, template, refused string, unclear bool) Tried {
	return Tried{template, Trial{Asked: true, Member: member, Refused: refused, Unclear: unclear}, now}
}

// Member returns the member whose pod was tried; "" if none was.
func (t Tried) Member() string { return t.trial.Member }

// Now returns the trial if it was of the template as it is now, and forgets it otherwise.
func (t *Tried) Now(template string, now time.Time) Trial {
	if !t.trial.Asked || t.template != template || now.Sub(t.at) >= trialForgotten {
		*t = Tried{}
		return Trial{}
	}
	out := t.trial
	out.Ago = now.Sub(t.at)
	return out
}
