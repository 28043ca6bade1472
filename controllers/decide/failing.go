package decide

import "time"

// maxFailedRest is for how long at most a pod is left that ended and will not run again.
const maxFailedRest = time.Minute

// findFailing notes which members' pods have ended and are left alone for a while. The first one is replaced at once; if those after it
// fail as well, and none came to run, each is left for as long as pods of that spec have been failing when it ended: a kubelet that
// refuses a pod refuses the next one within milliseconds. Meanwhile people can read from the pod why it failed. Called first, so that the
// time runs without interruption whatever else is decided.
func (d *decision) findFailing() {
	d.resting = map[string]bool{}
	for _, m := range d.byOrdinal() {
		fails := "pods fail: " + m.Name + " " + m.SpecHash
		_, timed := d.Held[fails]
		switch {
		case m.Pod != nil && m.Pod.Failed && !m.Pod.Deleting && !d.Outdated(m):
			this := "pod failed: " + string(m.Pod.UID)
			d.lasting(fails, 0)
			d.resting[m.Name] = !d.lasting(this, min(d.Held[fails]-d.Held[this], maxFailedRest))
		case timed && m.fresh() == nil && (m.Pod == nil || !m.Pod.Ready):
			d.lastingQuietly(fails, 0)
		}
	}
}
