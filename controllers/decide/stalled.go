package decide

import (
	"fmt"
	"strings"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// stall says that writes wait for voters that answer but are far behind. The zero value means that they do not.
type stall struct {
	rule  replication.Rule // the rule that they do not meet
	lasts time.Duration    // since anything was last acknowledged, as far as was seen
}

// stalledAt is the fact that writes wait. It names the commit position, so that the timing starts over as soon as anything
// is acknowledged: voters that never hold the newest writes may still be fast enough for their clients.
func stalledAt(rec Record, leader *wire.Status) string {
	return fmt.Sprintf("in epoch %d nothing is committed beyond %d", rec.Epoch, leader.Commit)
}

// findStall notes since when too few voters for some rule have caught up, while nothing is committed. Decide calls it first,
// so that the timing is not interrupted whatever else is decided.
func (d *decision) findStall() {
	rec := d.Lease.Record
	if rec == nil {
		return
	}
	leader := d.Members[rec.Leader.Member]
	if s := leader.lately(); s != nil && leader.fresh() == nil {
		d.keepTiming(stalledAt(*rec, s))
	}
	if !leader.leads(*rec) {
		return
	}
	s := leader.fresh()
	for _, r := range rec.Rules {
		if d.upToDate(s, r.Voters) < r.K {
			d.lasting(stalledAt(*rec, s), lagPatience)
			d.stall = stall{r, d.Held[stalledAt(*rec, s)]}
			return
		}
	}
}

// stalledForLong reports whether writes have waited for voters that lag for as long as a voter may be gone. How far a voter
// is behind does not tell how long it takes to catch up, and one long record on a slow network makes it lag, too; so
// durability Preferred goes by that alone.
func (d *decision) stalledForLong() bool { return d.stall.lasts >= d.Settings.VoterGoneAfter }

// upToDate returns the number of voters that the leader hears and that hold what it wrote. It goes by the leader alone: what
// it needs is their acknowledgement, whether or not they answer the operator.
func (d *decision) upToDate(leader *wire.Status, voters []replication.Voter) int {
	n := 0
	for _, v := range voters {
		if d.hears(leader, v) && leader.Followers[v.Member].CaughtUp {
			n++
		}
	}
	return n
}

// writesStall says which voters keep writes waiting, and what to do; "" if they do not, or have not for long.
func (d *decision) writesStall(rec Record) string {
	if d.stall.lasts < lagPatience {
		return ""
	}
	leader, r := d.Members[rec.Leader.Member].fresh(), d.stall.rule
	if d.live(leader, r.Voters) < r.K { // whoever lags is not what is missing
		return d.writesWait(rec, r)
	}
	var behind []string
	for _, v := range r.Voters {
		switch {
		case !d.hears(leader, v):
			behind = append(behind, d.whyUnheard(rec, v))
		case !leader.Followers[v.Member].CaughtUp:
			behind = append(behind, v.Member+" is behind")
		}
	}
	text := fmt.Sprintf("A write needs %s, but nothing has been acknowledged for %s, because too few of these hold what was written before: %s.",
		describe([]replication.Rule{r}), lagPatience, strings.Join(behind, "; "))
	if d.Store.Spec.Replication.Synchronous.Durability == v1alpha1.DurabilityPreferred {
		return text + " Durability is Preferred: if that lasts, writes will go on with fewer."
	}
	return text + fmt.Sprintf(" Writes go on by themselves once enough have caught up (status.members shows the lag; if it does not shrink, check their disks and network). "+
		"To acknowledge writes with fewer before that, lower spec.replication.synchronous.number to %d, or set its durability to Preferred.", d.upToDate(leader, r.Voters))
}
