package decide

import "time"

// lastWords bounds for how long a pod counts whose object is gone. A kubelet gives such a process two seconds to end; one whose
// kubelet does not work either must not keep its successor away.
const lastWords = 5 * time.Second

// Departed remembers the pods of one store, for the sake of those whose object vanishes while their process goes on, as after a
// deletion by force. Until it ends, such a leader can hand over, which costs clients less than finding out that it died; and a new pod
// could not open the volume. The observer keeps it between passes.
type Departed map[string]departed

type departed struct {
	pod Pod
	at  time.Time // when its object was found missing; zero while it is there
}

// Recall gives members without a pod the one that they had, as one that is being deleted, for as long as answers says that it did
// when it was asked last, and lastWords at most.
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

// Dismiss takes those away again that have not answered now.
func (d Departed) Dismiss(members map[string]Member) {
	for name, m := range members {
		if m.Pod != nil && m.Pod.Departed && m.fresh() == nil {
			m.Pod = nil
			members[name] = m
		}
	}
}
