//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// trial is load on a store, from before a fault until after it is mended.
type trial struct {
	store   *stage.Store
	writer  *stage.Writer
	leaders *leaders
	row     *row

	// The state before the fault.
	leader, node string
	epoch        int64
	began        time.Time
}

// begin waits until the store is whole, opens the connections, writes, and watches who leads.
func begin(ctx context.Context, s *stage.Store) *trial {
	GinkgoHelper()
	return beginWith(ctx, s, ledger.Options{Connections: 6, Rate: 300})
}

// beginWith is begin with another load.
func beginWith(ctx context.Context, s *stage.Store, opt ledger.Options) *trial {
	GinkgoHelper()
	subject = s
	ready(ctx, s)
	opt.ID = strconv.FormatInt(time.Now().UnixNano(), 36)
	opt.Timeout = cmp.Or(opt.Timeout, time.Second)
	w, err := s.Writer(ctx, []string{self(), writerArgument}, opt)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(w.Close)
	l, err := watchLeaders(ctx, s)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(l.stop)
	t := &trial{store: s, writer: w, leaders: l, row: rowOf()}
	t.writes(ctx, "before the fault")
	t.leader, t.node, t.epoch, err = s.Leader(ctx)
	Expect(err).NotTo(HaveOccurred())
	t.began = time.Now()
	return t
}

// self returns the path of this program.
func self() string {
	GinkgoHelper()
	path, err := os.Executable()
	Expect(err).NotTo(HaveOccurred())
	return path
}

// fault injects the fault. The gap counts from here on.
func (t *trial) fault(what string, err error) {
	GinkgoHelper()
	Expect(err).NotTo(HaveOccurred(), what)
	tell("fault: " + what)
}

// writes waits until a hundred further writes are acknowledged.
func (t *trial) writes(ctx context.Context, when string) {
	GinkgoHelper()
	before := t.stats()
	Eventually(ctx, func(g Gomega) {
		now := t.stats()
		g.Expect(now.Acknowledged).To(BeNumerically(">=", before.Acknowledged+100), "writes %s; last error: %s", when, now.LastError)
	}, changeTimeout, 100*time.Millisecond).Should(Succeed())
}

// stopped waits until no write has been acknowledged for the time quiet, and returns the error that clients get.
func (t *trial) stopped(ctx context.Context, quiet time.Duration) string {
	GinkgoHelper()
	var s ledger.Stats
	Eventually(ctx, func(g Gomega) {
		s = t.stats()
		g.Expect(time.Since(s.LastAcknowledged)).To(BeNumerically(">", quiet), "writes must have stopped")
	}, changeTimeout, 100*time.Millisecond).Should(Succeed())
	return s.LastError
}

func (t *trial) stats() ledger.Stats {
	GinkgoHelper()
	s, err := t.writer.Stats(t.began)
	Expect(err).NotTo(HaveOccurred())
	return s
}

// led waits for another leadership and for writes through it, and checks its report: nothing may be lost.
func (t *trial) led(ctx context.Context) *v1alpha1.ReplicatedStore {
	GinkgoHelper()
	rs := ledAfter(ctx, t.store, t.epoch)
	t.writes(ctx, "through the new leader")
	r := rs.Status.LastFailover
	Expect(r.WritesLost).To(Equal(v1alpha1.LostNone))
	t.row.read(fmt.Sprintf("report: %s %s, lost %s", r.Kind, r.Reason, r.WritesLost))
	return rs
}

// sees waits until a condition has the given status and reason (or one of several, separated by "|"), with a message that contains
// each of says.
func (t *trial) sees(ctx context.Context, kind string, status metav1.ConditionStatus, reason string, says ...string) {
	GinkgoHelper()
	c := sees(ctx, t.store, kind, status, reason, says...)
	t.row.read(fmt.Sprintf("%s=%s %s", kind, status, c.Reason))
	tell(fmt.Sprintf("%s=%s %s: %s", kind, status, c.Reason, c.Message))
}

func (r *row) read(s string) {
	if !slices.Contains(r.Conditions, s) {
		r.Conditions = append(r.Conditions, s)
	}
}

func sees(ctx context.Context, s *stage.Store, kind string, status metav1.ConditionStatus, reason string, says ...string) metav1.Condition {
	GinkgoHelper()
	var c metav1.Condition
	Eventually(ctx, func(g Gomega) {
		rs, err := s.Get(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		c = condition(rs, kind)
		g.Expect(c.Status).To(Equal(status), "%s: %s: %s", kind, c.Reason, c.Message)
		g.Expect(strings.Split(reason, "|")).To(ContainElement(c.Reason), "%s: %s", kind, c.Message)
		for _, word := range says {
			g.Expect(c.Message).To(ContainSubstring(word), kind)
		}
	}, changeTimeout, 100*time.Millisecond).Should(Succeed())
	return c
}

// end is the final judgement: the store is Ready and every condition says so, writes go on, no member lacks an acknowledged write,
// and no epoch had two leaders.
func (t *trial) end(ctx context.Context) ledger.Report {
	GinkgoHelper()
	r := t.tally(ctx)
	Expect(r.First).To(BeEmpty())
	Expect(r.OK()).To(BeTrue(), r.String())
	whole(ctx, t.store)
	t.row.read("at the end: Ready, Available, not Degraded, not FailoverBlocked")
	return r
}

// tally is end without the judgement on losses and on the conditions. Still, no epoch may have two leaders.
func (t *trial) tally(ctx context.Context) ledger.Report {
	GinkgoHelper()
	ready(ctx, t.store)
	t.writes(ctx, "after the fault")
	return t.verify(ctx)
}

// verify stops the load and compares what was acknowledged with every member.
func (t *trial) verify(ctx context.Context) ledger.Report {
	GinkgoHelper()
	stats := t.stats()
	Expect(t.writer.Stop()).To(Succeed())
	members, err := t.store.Members(ctx)
	Expect(err).NotTo(HaveOccurred())
	r, err := t.writer.Verify(members, verifyTimeout)
	Expect(err).NotTo(HaveOccurred())
	t.leaders.stop()
	epochs, most := t.leaders.epochs()
	t.row.GapMillis = max(t.row.GapMillis, stats.Gap.Length().Milliseconds())
	t.row.Acknowledged += r.Acknowledged
	t.row.Unknown += r.Unknown
	t.row.Lost += r.Lost
	t.row.Leaderships, t.row.LeadersPerEpoch = t.row.Leaderships+epochs, max(t.row.LeadersPerEpoch, most)
	AddReportEntry("ledger", fmt.Sprintf("%v; failed %d, unknown %d; worst gap %v", r, r.Failed, r.Unknown, stats.Gap.Length().Round(time.Millisecond)))
	Expect(epochs).To(BeNumerically(">", 0), "no leader was ever seen: the watch does not work")
	Expect(t.leaders.twice()).To(BeEmpty())
	return r
}

// whole waits until every condition reports that nothing is wrong.
func whole(ctx context.Context, s *stage.Store) {
	GinkgoHelper()
	sees(ctx, s, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAllMembersReady)
	sees(ctx, s, v1alpha1.ConditionAvailable, metav1.ConditionTrue, v1alpha1.ReasonWritable)
	sees(ctx, s, v1alpha1.ConditionFailoverBlocked, metav1.ConditionFalse, v1alpha1.ReasonNotBlocked)
	Eventually(ctx, func(g Gomega) {
		rs, err := s.Get(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		c := condition(rs, v1alpha1.ConditionDegraded)
		g.Expect(c.Reason).To(BeElementOf(v1alpha1.ReasonAsExpected, v1alpha1.ReasonWritesQuarantined), c.Message)
	}, changeTimeout, 100*time.Millisecond).Should(Succeed())
}

// address returns the client address of the member that led when the trial began.
func (t *trial) address(ctx context.Context) string {
	GinkgoHelper()
	pods, err := t.store.Pods(ctx)
	Expect(err).NotTo(HaveOccurred())
	Expect(pods).To(HaveKey(t.leader))
	return net.JoinHostPort(pods[t.leader].Status.PodIP, strconv.Itoa(v1alpha1.PortClient))
}

// followers returns the store's followers, sorted by name, with their nodes.
func (t *trial) followers(ctx context.Context) []place {
	GinkgoHelper()
	pods, err := t.store.Pods(ctx)
	Expect(err).NotTo(HaveOccurred())
	var out []place
	for name, pod := range pods {
		if name != t.leader {
			out = append(out, place{name, pod.Spec.NodeName})
		}
	}
	slices.SortFunc(out, func(a, b place) int { return strings.Compare(a.member, b.member) })
	return out
}

// place is a member and its node.
type place struct{ member, node string }
