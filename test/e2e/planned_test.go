//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// Planned operations: clients are to notice nothing but a pause.

// patience is the clients' timeout, the default of public client libraries: if no client got an error, no write took longer.
const patience = 3 * time.Second

// planned is begin for clients with that timeout.
func planned(ctx context.Context, s *stage.Store) *trial {
	GinkgoHelper()
	return beginWith(ctx, s, ledger.Options{Connections: 6, Rate: 300, Timeout: patience})
}

// asks performs a user's request. The gap counts from the first request on.
func (t *trial) asks(what string, err error) {
	GinkgoHelper()
	Expect(err).NotTo(HaveOccurred(), what)
	tell("asked: " + what)
}

// undisturbed is end, and also checks that no client got an error.
func (t *trial) undisturbed(ctx context.Context) {
	GinkgoHelper()
	t.toldNothing(t.end(ctx))
}

func (t *trial) toldNothing(r ledger.Report) {
	GinkgoHelper()
	Expect(r.Failed+r.Unknown).To(BeZero(), "%d writes failed and %d ended unknown:\n%s",
		r.Failed, r.Unknown, strings.Join(r.Errors, "\n"))
	t.row.read("clients: no error")
}

// calmly runs do, which must disturb no client and take at most most leaderships (0: any number), under a load of its own. A
// machine that stalls for longer than the clients' timeout disturbs them, too, or ends a leadership. In that case calmly runs do
// once more. Nothing may be lost in either run.
func calmly(ctx context.Context, s *stage.Store, most int, do func(*trial)) {
	GinkgoHelper()
	for last := false; ; last = true {
		t := planned(ctx, s)
		before := t.row.Leaderships
		do(t)
		r := t.end(ctx)
		leaderships := t.row.Leaderships - before
		if !last && (r.Failed+r.Unknown > 0 || most > 0 && leaderships > most) {
			note("done once more: %d writes failed, %d ended unknown, in %d leaderships", r.Failed, r.Unknown, leaderships)
			continue
		}
		t.toldNothing(r)
		if most > 0 {
			Expect(leaderships).To(BeNumerically("<=", most), "it is no reason for another leader")
		}
		return
	}
}

// annotates sets an annotation of the store; "" removes it.
func (t *trial) annotates(ctx context.Context, key, value string) error {
	return t.store.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) {
		if rs.Annotations == nil {
			rs.Annotations = map[string]string{}
		}
		if rs.Annotations[key] = value; value == "" {
			delete(rs.Annotations, key)
		}
	})
}

// rolls waits until a change has recreated every member's pod, one at a time: followers first, and the leader last, after another
// member has taken over.
func (t *trial) rolls(ctx context.Context, what string, change func() error) {
	GinkgoHelper()
	leader, _, epoch, err := t.store.Leader(ctx)
	Expect(err).NotTo(HaveOccurred())
	w := watchPods(ctx, t.store)
	defer w.stop()
	t.asks(what, change())
	Eventually(ctx, func(g Gomega) {
		order, _ := w.seen()
		g.Expect(order).To(HaveLen(len(w.first)), "members that were made anew")
	}, readyTimeout, pollPeriod).Should(Succeed())
	rs := ready(ctx, t.store)
	order, most := w.seen()
	tell(fmt.Sprintf("%s: %v were made anew in this order", what, order))
	Expect(order).To(ConsistOf(w.members()), "each once")
	Expect(order[len(order)-1]).To(Equal(leader), "the leader must be the last of %v", order)
	Expect(most).To(BeNumerically("<=", 1), "members that were away at once")
	r := rs.Status.LastFailover
	Expect(r.Epoch).To(BeNumerically(">", epoch))
	Expect(r.Kind).To(Equal(v1alpha1.KindHandover), "%s: %s", r.Reason, r.Message)
	Expect(r.WritesLost).To(Equal(v1alpha1.LostNone))
	t.writes(ctx, "after it")
	t.row.read(fmt.Sprintf("%s: followers first, then %s %s, the leader last", what, r.Kind, r.Reason))
}

// stays fails if a member's pod is recreated, or its process restarted, before the returned function is called.
func (t *trial) stays(ctx context.Context) (check func()) {
	GinkgoHelper()
	w := watchPods(ctx, t.store)
	return func() {
		GinkgoHelper()
		w.stop()
		order, _ := w.seen()
		Expect(order).To(BeEmpty(), "members were made anew")
		pods, err := t.store.Pods(ctx)
		Expect(err).NotTo(HaveOccurred())
		for name, pod := range pods {
			Expect(restartsOf(pod)).To(Equal(w.restarts[name]), "restarts of %s", name)
		}
		t.row.read("pods: none was restarted")
	}
}

// podWatch observes how members' pods are recreated.
type podWatch struct {
	first    map[string]types.UID
	restarts map[string]int32
	cancel   context.CancelFunc
	done     sync.WaitGroup

	mu    sync.Mutex
	known map[string]types.UID
	order []string
	most  int // the most members without a running pod at any time
}

func watchPods(ctx context.Context, s *stage.Store) *podWatch {
	GinkgoHelper()
	pods, err := s.Pods(ctx)
	Expect(err).NotTo(HaveOccurred())
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &podWatch{first: map[string]types.UID{}, known: map[string]types.UID{}, restarts: map[string]int32{}, cancel: cancel}
	for name, pod := range pods {
		w.first[name], w.known[name] = pod.UID, pod.UID
		w.restarts[name] = restartsOf(pod)
	}
	w.done.Go(func() { poll(running, 100*time.Millisecond, func() { w.look(running, s) }) })
	return w
}

func restartsOf(pod *corev1.Pod) (n int32) {
	for _, c := range pod.Status.ContainerStatuses {
		n += c.RestartCount
	}
	return n
}

func (w *podWatch) look(ctx context.Context, s *stage.Store) {
	pods, err := s.Pods(ctx)
	if err != nil {
		return // the next look will tell
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	away := 0
	for name := range w.first {
		pod := pods[name]
		if pod == nil || pod.DeletionTimestamp != nil || pod.Status.PodIP == "" {
			away++
		}
		if pod != nil && pod.UID != w.known[name] {
			w.known[name], w.order = pod.UID, append(w.order, name)
		}
	}
	w.most = max(w.most, away)
}

func (w *podWatch) seen() (order []string, most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.order), w.most
}

func (w *podWatch) members() []string {
	var out []string
	for name := range w.first {
		out = append(out, name)
	}
	return out
}

func (w *podWatch) stop() {
	w.cancel()
	w.done.Wait()
}
