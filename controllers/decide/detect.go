package decide

import (
	"fmt"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Reasons for a failover, as they appear in status.lastFailover.
const (
	reasonLeaderRestarted  = "LeaderRestarted"
	reasonLeaderReborn     = "LeaderReborn"
	reasonLeaderRefused    = "LeaderRefused"
	reasonLeaderSilent     = "LeaderSilent"
	reasonLeaderCutOff     = "LeaderCutOff"
	reasonLeaseExpired     = "LeaseExpired"
	reasonPromotionRefused = "PromotionRefused"
	reasonNoBarrier        = "NoBarrier"
	reasonNotWritable      = "NotWritable"
	reasonRecordLost       = "RecordLost"
	reasonTakenOver        = "TakenOver"
	reasonHibernated       = "Hibernated"
	reasonWoken            = "Woken"
	reasonRequested        = "Requested"
	reasonPodDeleting      = "LeaderPodDeleting"
	reasonLeaving          = "LeaderLeaving"
	reasonPodFenced        = "LeaderPodFenced"
	reasonNodeCordoned     = "LeaderNodeCordoned"
	reasonPreferredZone    = "PreferredZone"
	reasonUpdating         = "Updating"
	reasonBootstrap        = "Bootstrap"
)

type verdict uint8

const (
	leaderAlive   verdict = iota + 1
	leaderSuspect         // wait a little longer
	leaderUnknown         // unreachable from here but heard by others: unknown is not down
	leaderDown
)

type finding struct {
	verdict verdict
	reason  string
	message string
	dead    bool // see Record.LeaderDead
	// setAside: it is alive but useless, and would be no better in another epoch. It is set aside so that another member
	// leads, or nobody.
	setAside bool
}

func found(v verdict, reason, format string, args ...any) finding {
	return finding{verdict: v, reason: reason, message: fmt.Sprintf(format, args...)}
}

// detect judges the recorded leader of a promoted epoch.
//
// Being wrong here costs a pause, never data: what protects data is the fence condition. So evidence from the leader's own
// host or process (it refuses connections, it restarted) is believed at once, while silence is believed only if the voters
// report it too. The Lease is the backstop for what neither shows, such as a hung disk.
func (d *decision) detect(rec Record) finding {
	name := rec.Leader.Member
	m := d.Members[name]
	s := m.fresh()
	c := d.contact(rec)
	switch {
	case m.leads(rec) && d.leaseExpired() && d.Lease.Holder == name && d.renewsNoMore(rec):
		return found(leaderDown, reasonLeaseExpired, "%s answers, but has not renewed its Lease for %s", name, round(d.Lease.UnchangedFor))
	case m.leads(rec) && d.cutOff(rec):
		return d.foundCutOff(rec)
	case m.leads(rec):
		return found(leaderAlive, "", "%s leads epoch %d", name, rec.Epoch)
	case s != nil && s.Incarnation != rec.Leader.Incarnation:
		return found(leaderDown, reasonLeaderReborn, "%s came back with another data directory", name)
	case s != nil:
		return found(leaderDown, reasonLeaderRestarted, "%s is %s in epoch %d and no longer leads epoch %d", name, s.Role, s.Epoch, rec.Epoch)
	case c.heard > 0:
		return found(leaderUnknown, "", "%s does not answer the operator (%s for %s), but %d of its followers hear it", name, m.Probe.Reach, round(m.Probe.For), c.heard)
	case m.Probe.Reach == Refused && c.refused > 0:
		f := found(leaderDown, reasonLeaderRefused, "%s refuses connections on every port", name)
		f.dead = m.Probe.Met // otherwise this may be the pod after the leader's, which does not listen yet
		return f
	case m.Probe.Reach == Refused && c.silent+c.parted > 0 && m.Probe.For < corroboration:
		return found(leaderSuspect, "", "%s refuses connections; its followers are about to notice", name)
	case m.Probe.Reach == Refused:
		return found(leaderDown, reasonLeaderRefused, "%s refuses connections", name)
	case c.refused > 0:
		return found(leaderDown, reasonLeaderRefused, "%s is unreachable and refuses its followers", name)
	case c.silent > 0 && m.Probe.Silent >= d.Settings.SuspectAfter:
		return found(leaderDown, reasonLeaderSilent, "%s has been unreachable for %s, and no follower hears it", name, round(m.Probe.Silent))
	case d.leaseExpired():
		return found(leaderDown, reasonLeaseExpired, "%s is unreachable and has not renewed its Lease for %s", name, round(d.Lease.UnchangedFor))
	default:
		return found(leaderSuspect, "", "%s does not answer (%s for %s)", name, m.Probe.Reach, round(m.Probe.For))
	}
}

// contacts counts what the followers that answer in this pass say about the leader. Under rules that count voters, only
// voters are asked: a leader heard only by others can acknowledge nothing. If a rule has too few voters to acknowledge
// anything, everybody is asked: the others are about to become voters or, if this record is an older copy, are voters of a
// newer rule.
type contacts struct {
	heard, silent, refused int
	parted                 int // neither connected nor silent for long yet
	faint                  int // of heard: those that have heard nothing for some heartbeats
}

// faintAfter is four of a leader's heartbeats (see replication/peer).
const faintAfter = 400 * time.Millisecond

// corroboration is how long a refusal waits for a follower to be refused too. If the old leader is known to be dead on both
// ports, the new one need not wait out its read window, which is many times longer.
const corroboration = 150 * time.Millisecond

func (d *decision) contact(rec Record) contacts {
	rule, _ := rec.Rule()
	var c contacts
	for _, m := range d.Members {
		s := m.fresh()
		if !m.follows(rec) || s.Contact == nil {
			continue
		}
		if v, ok := rec.Voter(m.Name); rule.K > 0 && rule.K <= len(rule.Voters) && (!ok || v.Incarnation != s.Incarnation) {
			continue
		}
		c.add(*s.Contact, d.Settings.SuspectAfter)
	}
	return c
}

func (c *contacts) add(s wire.Contact, silentAfter time.Duration) {
	switch silent := time.Duration(s.SilentMillis) * time.Millisecond; {
	case s.Connected:
		c.heard++
		if silent >= faintAfter {
			c.faint++
		}
	case s.Refused:
		c.refused++
	case s.Deaf, s.SilentMillis < 0 || silent >= silentAfter:
		c.silent++
	default:
		c.parted++
	}
}

// leaseExpired reports whether the Lease has been unchanged for its duration during the newest leadership.
func (d *decision) leaseExpired() bool {
	return d.Lease.Exists && d.Lease.UnchangedFor >= d.leaseDuration()
}

// renewsNoMore reports whether the Lease of a leader that answers stays unchanged even though the API server answers. If the
// API server was down or slow, the leader could not renew and must be given time to.
func (d *decision) renewsNoMore(rec Record) bool {
	d.doubtful = true
	return d.lasting(fmt.Sprintf("no renewal in epoch %d", rec.Epoch), d.leaseDuration()/2)
}

// findUnrenewed notes whether a leader that answers fails to renew its Lease. Such a leader is replaced once (see detect);
// if it then leads again, or the next one fails in the same way, people are told. Until then the judgement needs the Lease
// as the API server itself has it, as in renewsNoMore.
func (d *decision) findUnrenewed() {
	rec := d.Lease.Record
	if rec == nil || rec.Phase != PhaseStable || !d.Members[rec.Leader.Member].leads(*rec) || !d.leaseExpired() {
		return
	}
	d.unrenewed = d.lastingQuietly(fmt.Sprintf("the Lease of epoch %d is not renewed", rec.Epoch), d.leaseDuration())
	d.doubtful = d.doubtful || !d.unrenewed
}

// notRenewed is the judgement that reports it.
func (d *decision) notRenewed(rec Record) judgement {
	return judgement{d.unrenewed, v1alpha1.ReasonLeaseNotRenewed, fmt.Sprintf("%s leads, but has not renewed its Lease for more than %s. While that lasts, the Lease does "+
		"not reveal a hung disk. Make sure that its machine and pod reach the API server (its log says what fails), or hand over to a member "+
		"that does: annotate the store with %s=<member>.", rec.Leader.Member, d.leaseDuration(), v1alpha1.AnnotationFailover)}
}

// expiredBeyondDoubt reports whether a leader without voters must have stopped by itself. Its own deadline is strictly less
// than the Lease's duration and began before the renewal that was observed here; the extra quarter allows for clocks that
// run at different rates.
func (d *decision) expiredBeyondDoubt() bool {
	return d.Lease.UnchangedFor >= d.leaseDuration()*5/4
}

// leaseDuration is the spec's, or the one the leader still uses while that is longer.
func (d *decision) leaseDuration() time.Duration {
	return max(d.specLeaseDuration(), d.Lease.Duration)
}

func (d *decision) specLeaseDuration() time.Duration {
	return time.Duration(d.Store.Spec.LeaseDuration()) * time.Second
}

// round makes v a figure for people, coarser the longer it is, so that a status that says how long something has lasted is
// not rewritten every second.
func round(v time.Duration) time.Duration {
	switch {
	case v < 10*time.Second:
		return v.Round(100 * time.Millisecond)
	case v < time.Minute:
		return v.Truncate(5 * time.Second)
	case v < time.Hour:
		return v.Truncate(time.Minute)
	default:
		return v.Truncate(time.Hour)
	}
}
