package decide

import "time"

// lastWords bounds how long a pod still counts after its object is gone. Kubelet gives such a process two seconds to end; a
// process whose kubelet does not work either must not keep its successor away.
const lastWords = 5 * time.Second

// Departed remembers the pods of one store, for those whose object vanishes while their process goes on, as after a forced
// deletion. Until it ends, such a leader can hand over, which costs clients less than detecting its death; and until then a
// new pod could not open the volume. The observer keeps Departed between passes.
type Departed map[string]departed

type departed struct {
	pod Pod
	at  time.Time // when its object was found missing; zero while the object exists
}

// Recall gives members without a pod the pod they last had, marked as being deleted, as long as answers says that the member
// answered when last asked, and for lastWords at most.
func (d Departed) Recall(members map[string]Member, answers func(member string) bool, now time.Time) {
	for name := range d {
		if m, ok := members[name]; !ok || m.Pod != nil {
			delete(d, name)
		}
	}
	for name, m := range members {
		if m.Pod != nil {
			if m.reachable() {
				d[name] = departed{pod: *m.Pod}
			}
			continue
		}
		was, ok := d[name]
		if !ok {
			continue
		}
		if was.at.IsZero() {
			was.at = now
			d[name] = was
		}
		if now.Sub(was.at) < lastWords && answers(name) {
			pod := was.pod
			pod.Deleting, pod.Departed, pod.Ready = true, true, false
			m.Pod = &pod
			members[name] = m
		}
	}
}

// Dismiss removes the recalled pods of members that have not answered in this pass.
func (d Departed) Dismiss(members map[string]Member) {
	for name, m := range members {
		if m.Pod != nil && m.Pod.Departed && m.fresh() == nil {
			m.Pod = nil
			members[name] = m
		}
	}
}
