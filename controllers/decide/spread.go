package decide

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// spread judges whether some machine runs more members than the store can lose together with their volumes: as many as hold
// each acknowledged write besides the leader or, if replication is asynchronous, all but one.
func (d *decision) spread(rec Record) judgement {
	size, k := d.Store.Spec.Size(), d.Store.Spec.SynchronousNumber()
	if size == 1 {
		return judgement{true, v1alpha1.ReasonMembersApart, "The store has one member."}
	}
	on := map[string][]string{}
	for _, m := range d.roster(rec) {
		if m.Pod != nil && m.Pod.Node != "" {
			on[m.Pod.Node] = append(on[m.Pod.Node], m.Name)
		}
	}
	can, cost := k, fmt.Sprintf("acknowledged writes could be lost, because each is on only %d members", k+1)
	if k == 0 {
		can, cost = size-1, "all data would be lost"
	}
	var together []string
	for _, node := range slices.Sorted(maps.Keys(on)) {
		if members := on[node]; len(members) > can {
			together = append(together, fmt.Sprintf("%s are on node %s", strings.Join(members, ", "), node))
		}
	}
	if len(together) == 0 {
		return judgement{true, v1alpha1.ReasonMembersApart, fmt.Sprintf("No node has more than %d members.", can)}
	}
	return judgement{false, v1alpha1.ReasonMembersTogether, fmt.Sprintf("%s: if that machine were lost with its disks, %s. Provide a node for each member "+
		"(spec.scheduling can ask for that), and move one of these there: delete its pod, or annotate the pod with %s if its volume "+
		"cannot follow.", strings.Join(together, "; "), cost, v1alpha1.AnnotationReseed)}
}
