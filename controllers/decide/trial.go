package decide

import (
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// Trial is what the API server said, in a dry run, to a pod made from the template as it is now. The zero value: it was not asked.
type Trial struct {
	Asked bool
	// Member whose pod was tried.
	Member string
	Ago    time.Duration
	// Refused is why it takes no such pod, or why it could not say; "" when it takes one.
	Refused string
	// Unclear: it could not say.
	Unclear bool
}

// For how long a trial holds: not each look at an update is a request of its own.
const (
	trialHolds   = 30 * time.Second
	unclearAgain = 5 * time.Second
)

// rests is how long the API server is not asked again about a member. That it takes one pod says nothing of the next one: a quota may
// have no room for that.
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

// try has the API server asked whether it takes a pod of the present template, before a member that has another one loses it: false when
// it does. A member whose new pod is refused would be away until somebody mends the spec. Where it is not
// clear, as while a webhook is down, the pod could not be made either, and so that is waited for too.
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
		p = plan(Updating, v1alpha1.ReasonUpdating, "%d members are to be restarted; the API server is asked first whether it takes "+
			"their new pods.", n)
	case t.Unclear:
		p = plan(Updating, v1alpha1.ReasonApplyFailed, "%d members are to be restarted, and the API server cannot say whether it takes "+
			"their new pods: %s. They stay as they are until it can.", n, t.Refused)
	default:
		p = plan(Updating, v1alpha1.ReasonApplyFailed, "%d members are to be restarted, and the API server refuses their new pods: %s. "+
			"They stay as they are.", n, t.Refused)
	}
	if rest > 0 {
		return p.again(rest), true
	}
	return p.do(TryPod{m.Name, m.Ordinal}), true
}
