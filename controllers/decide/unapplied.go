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
	// Missing: the store has no such child at all, not even an outdated one.
	Missing bool
	// NotOwned: a child of that name belongs to somebody else.
	NotOwned bool
}

func (u Unapplied) reason() string {
	if u.NotOwned {
		return v1alpha1.ReasonNotOwned
	}
	return v1alpha1.ReasonApplyFailed
}

// unapplied judges a store some of whose children do not match its spec; the zero reason means that none is known.
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

// unreachable judges a leader that takes writes but to which clients are not routed. The zero value means that they are, as
// far as is known.
func (d *decision) unreachable(rec Record) judgement {
	service := v1alpha1.ServiceReadWrite(d.Store.Name)
	switch u := d.Unapplied["Service/"+service]; {
	case u.Missing:
		return judgement{false, u.reason(), fmt.Sprintf("%s acknowledges writes in epoch %d, but no Service %s routes clients to it: %s.",
			rec.Leader.Member, rec.Epoch, service, u.Why)}
	case d.Unrouted != "" && len(d.route(rec)) > 0:
		return judgement{false, v1alpha1.ReasonApplyFailed, fmt.Sprintf("%s acknowledges writes in epoch %d, but the Service %s does not route clients to it: %s.",
			rec.Leader.Member, rec.Epoch, service, d.Unrouted)}
	default:
		return judgement{}
	}
}
