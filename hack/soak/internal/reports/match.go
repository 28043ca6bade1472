package reports

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// Leadership is one epoch, according to the authority record.
type Leadership struct {
	Store  string                `json:"store"`
	Epoch  int64                 `json:"epoch"`
	Leader string                `json:"leader"` // "" while it was only fenced
	Kind   v1alpha1.FailoverKind `json:"kind"`
	Reason string                `json:"reason"`
	Led    bool                  `json:"led"`             // the record became Stable: the leader acknowledged writes
	Other  string                `json:"other,omitempty"` // a second leader that the record named, which must never happen
	Begun  time.Time             `json:"begun"`           // when the record was first seen to name the epoch
}

// Change is a leadership together with its report.
type Change struct {
	Leadership
	Report *v1alpha1.FailoverReport `json:"report,omitempty"`
	// Missing says what is reported wrongly or not at all; "" if nothing.
	Missing string `json:"missing,omitempty"`
}

// account is what was seen of one store.
type account struct {
	leaderships map[int64]*Leadership
	reports     map[int64]*v1alpha1.FailoverReport // the newest one of each epoch
	record      *decide.Record
	status      *v1alpha1.ReplicatedStoreStatus
	first       *v1alpha1.ReplicatedStoreStatus
}

func newAccount() *account {
	return &account{leaderships: map[int64]*Leadership{}, reports: map[int64]*v1alpha1.FailoverReport{}}
}

// recorded takes a version of the record and reports whether it contains news.
func (a *account) recorded(store string, r decide.Record, at time.Time) bool {
	before := a.record
	a.record = &r
	l := a.leaderships[int64(r.Epoch)]
	if l == nil {
		l = &Leadership{Store: store, Epoch: int64(r.Epoch), Begun: at}
		a.leaderships[l.Epoch] = l
	}
	if l.Leader != "" && l.Leader != r.Leader.Member {
		l.Other = l.Leader
	}
	l.Leader, l.Kind, l.Reason = r.Leader.Member, r.Kind, r.Reason
	l.Led = l.Led || r.Phase == decide.PhaseStable
	return before == nil || before.Epoch != r.Epoch || before.Phase != r.Phase
}

// published takes a version of the status and reports whether its report or its counters contain news.
func (a *account) published(st v1alpha1.ReplicatedStoreStatus) bool {
	counted := a.status != nil && a.status.Counters != st.Counters
	a.status = &st
	if a.first == nil {
		a.first = &st
	}
	r := st.LastFailover
	if r == nil {
		return counted
	}
	before := a.reports[r.Epoch]
	a.reports[r.Epoch] = r
	return counted || before == nil || before.Result != r.Result || before.To != r.To
}

// changes returns the leaderships after the first one seen, oldest first, each with its report.
func (a *account) changes() (out []Change) {
	epochs := slices.Sorted(maps.Keys(a.leaderships))
	for i, epoch := range epochs {
		if i == 0 {
			continue // it was there before
		}
		c := Change{Leadership: *a.leaderships[epoch], Report: a.reports[epoch]}
		c.Missing = missing(c.Leadership, c.Report)
		if before := epochs[i-1]; before != epoch-1 {
			c.Missing = cmp.Or(c.Missing, fmt.Sprintf("nothing is known of the epochs between %d and %d", before, epoch))
		}
		out = append(out, c)
	}
	return out
}

// missing judges one report. An epoch has one leader. A leadership that took writes must be reported as a success of the right
// member that lost nothing. One that was given up on the way must at least have been reported while it was attempted.
func missing(l Leadership, r *v1alpha1.FailoverReport) string {
	switch {
	case l.Other != "":
		return fmt.Sprintf("the record named %s before", l.Other)
	case r == nil:
		return "no report"
	case !l.Led:
		return ""
	case r.Result != v1alpha1.ResultSucceeded:
		return fmt.Sprintf("reported as %s", r.Result)
	case r.To != l.Leader:
		return fmt.Sprintf("reported as led by %s", r.To)
	case r.Kind != l.Kind:
		return fmt.Sprintf("reported as %s", r.Kind)
	case r.WritesLost != v1alpha1.LostNone:
		return fmt.Sprintf("reported to have lost %q", r.WritesLost)
	case r.WritableTime == nil || r.DetectedTime == nil:
		return "reported without its times"
	}
	return ""
}

// miscounted compares the counters in the status with the leaderships that took writes. It returns "" if they agree.
func (a *account) miscounted() string {
	if a.first == nil {
		return "no status was seen"
	}
	want := map[v1alpha1.FailoverKind]int64{}
	for _, c := range a.changes() {
		if c.Led {
			want[c.Kind]++
		}
	}
	was, is := a.first.Counters, a.status.Counters
	got := map[v1alpha1.FailoverKind]int64{
		v1alpha1.KindFailover: is.Failovers - was.Failovers, v1alpha1.KindHandover: is.Handovers - was.Handovers,
	}
	for _, k := range []v1alpha1.FailoverKind{v1alpha1.KindFailover, v1alpha1.KindHandover} {
		if got[k] != want[k] {
			return fmt.Sprintf("status counts %d of kind %s, the records tell of %d", got[k], k, want[k])
		}
	}
	return ""
}
