package operator_test

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// ledger writes to the member that the -rw Service leads to, and remembers what was acknowledged.
type ledger struct {
	s     *site
	next  int
	acked []int
}

// write attempts one write. It remembers only an acknowledged one.
func (l *ledger) write(ctx context.Context) error {
	addr, err := l.s.readWrite(ctx)
	if err != nil {
		return err
	}
	c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DialTimeout: time.Second, ReadTimeout: 5 * time.Second, DisableIdentity: true})
	defer func() { _ = c.Close() }()
	l.next++
	if err := c.Set(ctx, fmt.Sprintf("key-%d", l.next), l.next, 0).Err(); err != nil {
		return err
	}
	l.acked = append(l.acked, l.next)
	return nil
}

// verify reads every acknowledged write from a member, which may lag for a moment if it is a follower.
func (l *ledger) verify(ctx context.Context, addr string) {
	GinkgoHelper()
	c := redis.NewClient(&redis.Options{Addr: addr, DisableIdentity: true})
	defer func() { _ = c.Close() }()
	for _, n := range l.acked {
		Eventually(func() (int, error) { return c.Get(ctx, fmt.Sprintf("key-%d", n)).Int() }, bounded, polling).
			Should(Equal(n), "acknowledged key-%d of %d", n, len(l.acked))
	}
}

// writes makes n acknowledged writes, however long that takes.
func (l *ledger) writes(ctx context.Context, n int) {
	GinkgoHelper()
	for range n {
		Eventually(l.write, bounded, polling).WithContext(ctx).Should(Succeed())
	}
	l.s.oneLeader(ctx)
}

// readWrite returns the address at which a client of the -rw Service ends up: the pod with the leader's label that takes writes.
// While leadership moves, two pods may have the label for a moment, and one of them refuses writes. If both took writes, that
// would break a promise.
func (s *site) readWrite(ctx context.Context) (string, error) {
	pods := &corev1.PodList{}
	if err := k8s.List(ctx, pods, client.InNamespace(s.namespace), client.MatchingLabels{api.LabelRole: api.RoleLabelLeader}); err != nil {
		return "", err
	}
	var open []string
	for _, pod := range pods.Items {
		if s.kubelet.takesWrites(ctx, pod.Name) {
			open = append(open, pod.Name)
		}
	}
	switch len(open) {
	case 0:
		return "", fmt.Errorf("none of the %d pods labelled leader takes writes", len(pods.Items))
	case 1:
		return s.kubelet.address(open[0]), nil
	default:
		Fail(fmt.Sprintf("%v are labelled leader and all take writes", open))
		return "", nil
	}
}

// oneLeader waits until exactly one pod has the leader's label.
func (s *site) oneLeader(ctx context.Context) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		pods := &corev1.PodList{}
		g.Expect(k8s.List(ctx, pods, client.InNamespace(s.namespace), client.MatchingLabels{api.LabelRole: api.RoleLabelLeader})).To(Succeed())
		g.Expect(pods.Items).To(HaveLen(1))
	}, bounded, polling).Should(Succeed())
}
