package decide

import "time"

// maxFailedRest bounds how long a pod that ended and will not run again is left alone.
const maxFailedRest = time.Minute

// findFailing notes which members' pods have ended and are left alone for a while. The first such pod of a member is
// replaced at once. If its successors fail too, without any of them having run, each is left for as long as pods of that
// spec had been failing when it ended: a kubelet that refuses one pod refuses the next within milliseconds. Meanwhile people
// can read from the pod why it failed. findFailing is called first, so that the timing is not interrupted whatever else is
// decided.
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
