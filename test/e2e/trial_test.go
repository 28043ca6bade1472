//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// create makes a store of the sample in a namespace of its own and waits until it is Ready.
func create(ctx context.Context, change func(*v1alpha1.ReplicatedStore)) *stage.Store {
	GinkgoHelper()
	ns, err := world.Namespace(ctx, "e2e-"+strconv.FormatInt(time.Now().Unix(), 36))
	Expect(err).NotTo(HaveOccurred())
	s, err := world.Create(ctx, ns, manifest, change)
	Expect(err).NotTo(HaveOccurred())
	ready(ctx, s)
	return s
}

func ready(ctx context.Context, s *stage.Store) *v1alpha1.ReplicatedStore {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	rs, err := s.Wait(ctx, tell, stage.Ready)
	Expect(err).NotTo(HaveOccurred(), "the store must become Ready")
	return rs
}

// ledAfter waits for a leadership after epoch that takes writes.
func ledAfter(ctx context.Context, s *stage.Store, epoch int64) *v1alpha1.ReplicatedStore {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	rs, err := s.Wait(ctx, tell, stage.LedAfter(epoch))
	Expect(err).NotTo(HaveOccurred(), "there must be a leader after epoch %d", epoch)
	return rs
}

func tell(s string) { GinkgoWriter.Println(time.Now().Format("15:04:05.000"), s) }

// trial is load on a store, from before a fault to after it is mended.
type trial struct {
	store   *stage.Store
	writer  *stage.Writer
	leaders *leaders
}

// begin opens the connections, writes, and watches who leads.
func begin(ctx context.Context, s *stage.Store) *trial {
	GinkgoHelper()
	return beginWith(ctx, s, ledger.Options{Connections: 6, Rate: 300})
}

// self is this program.
func self() string {
	GinkgoHelper()
	path, err := os.Executable()
	Expect(err).NotTo(HaveOccurred())
	return path
}

// beginWith is begin with another load.
func beginWith(ctx context.Context, s *stage.Store, opt ledger.Options) *trial {
	GinkgoHelper()
	opt.ID = strconv.FormatInt(time.Now().UnixNano(), 36)
	opt.Timeout = cmp.Or(opt.Timeout, time.Second)
	w, err := s.Writer(ctx, []string{self(), writerArgument}, opt)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(w.Close)
	t := &trial{store: s, writer: w, leaders: watchLeaders(s)}
	DeferCleanup(t.leaders.stop)
	t.writes(ctx, "before the fault")
	return t
}

// writes waits until a hundred further writes are acknowledged.
func (t *trial) writes(ctx context.Context, when string) {
	GinkgoHelper()
	before, err := t.writer.Stats(time.Time{})
	Expect(err).NotTo(HaveOccurred())
	Eventually(ctx, func(g Gomega) {
		now, err := t.writer.Stats(time.Time{})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(now.Acknowledged).To(BeNumerically(">=", before.Acknowledged+100), "writes %s; last error: %s", when, now.LastError)
	}, changeTimeout, 100*time.Millisecond).Should(Succeed())
}

// end is the judgement: the store is Ready, still takes writes, no member lacks an acknowledged write, and no epoch had two
// leaders.
func (t *trial) end(ctx context.Context) ledger.Report {
	GinkgoHelper()
	ready(ctx, t.store)
	t.writes(ctx, "after the fault")
	Expect(t.writer.Stop()).To(Succeed())
	members, err := t.store.Members(ctx)
	Expect(err).NotTo(HaveOccurred())
	r, err := t.writer.Verify(members, verifyTimeout)
	Expect(err).NotTo(HaveOccurred())
	stats, err := t.writer.Stats(time.Time{})
	Expect(err).NotTo(HaveOccurred())
	AddReportEntry("ledger", fmt.Sprintf("%v; failed %d, unknown %d; worst gap %v", r, r.Failed, r.Unknown, stats.Gap.Length().Round(time.Millisecond)))
	Expect(r.First).To(BeEmpty())
	Expect(r.OK()).To(BeTrue(), r.String())
	Expect(t.leaders.epochs()).To(BeNumerically(">", 0), "no leader was ever seen: the watch does not work")
	Expect(t.leaders.twice()).To(BeEmpty())
	return r
}

// explain tells what is known of a store when a spec failed.
func explain(ctx context.Context, s *stage.Store) {
	if s != nil && CurrentSpecReport().Failed() {
		s.Diagnose(ctx, GinkgoWriter)
	}
}

func condition(rs *v1alpha1.ReplicatedStore, kind string) metav1.Condition {
	for _, c := range rs.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return metav1.Condition{}
}
