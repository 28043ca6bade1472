package decide

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// Unapplied is a child that could not be applied.
type Unapplied struct {
	Why string
	// Missing: the store has none at all, not even one that is out of date.
	Missing bool
	// NotOwned: one of its name is somebody else's.
	NotOwned bool
}

func (u Unapplied) reason() string {
	if u.NotOwned {
		return v1alpha1.ReasonNotOwned
	}
	return v1alpha1.ReasonApplyFailed
}

// unapplied judges a store of which some child is not as its spec says; the zero value: none is known.
func (d *decision) unapplied() judgement {
	var why []string
	reason := ""
	for _, child := range slices.Sorted(maps.Keys(d.Unapplied)) {
		u := d.Unapplied[child]
		if why = append(why, u.Why); reason == "" || u.NotOwned {
			reason = u.reason()
		}
	}
	return judgement{false, reason, strings.Join(why, "; ") + "."}
}

// unreachable judges a leader that takes writes, and to which clients are not led; the zero value: they are, as far as is known.
func (d *decision) unreachable(rec Record) judgement {
	service := v1alpha1.ServiceReadWrite(d.Store.Name)
	switch u := d.Unapplied["Service/"+service]; {
	case u.Missing:
		return judgement{false, u.reason(), fmt.Sprintf("%s acknowledges writes in epoch %d, and no Service %s leads clients to it: %s.",
			rec.Leader.Member, rec.Epoch, service, u.Why)}
	case d.Unrouted != "" && len(d.route(rec)) > 0:
		return judgement{false, v1alpha1.ReasonApplyFailed, fmt.Sprintf("%s acknowledges writes in epoch %d, and the Service %s does not lead clients to it: %s.",
			rec.Leader.Member, rec.Epoch, service, d.Unrouted)}
	default:
		return judgement{}
	}
}
