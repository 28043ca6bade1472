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

// ledger writes to whoever the -rw Service would lead to, and remembers what was acknowledged.
type ledger struct {
	s     *site
	next  int
	acked []int
}

// write tries one write; only an acknowledged one is remembered.
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

// verify reads every acknowledged write from a member, a follower of which may be a moment behind.
func (l *ledger) verify(ctx context.Context, addr string) {
	GinkgoHelper()
	c := redis.NewClient(&redis.Options{Addr: addr, DisableIdentity: true})
	defer func() { _ = c.Close() }()
	for _, n := range l.acked {
		Eventually(func() (int, error) { return c.Get(ctx, fmt.Sprintf("key-%d", n)).Int() }, bounded, polling).
			Should(Equal(n), "acknowledged key-%d of %d", n, len(l.acked))
	}
}

// writes makes n acknowledged writes, however long it takes.
func (l *ledger) writes(ctx context.Context, n int) {
	GinkgoHelper()
	for range n {
		Eventually(l.write, bounded, polling).WithContext(ctx).Should(Succeed())
	}
}

// readWrite is where the -rw Service leads: to the one pod with the leader's label. Two would be a broken promise.
func (s *site) readWrite(ctx context.Context) (string, error) {
	pods := &corev1.PodList{}
	if err := k8s.List(ctx, pods, client.InNamespace(s.namespace), client.MatchingLabels{api.LabelRole: api.RoleLabelLeader}); err != nil {
		return "", err
	}
	if len(pods.Items) > 1 {
		Fail(fmt.Sprintf("%d pods are labelled leader", len(pods.Items)))
	}
	if len(pods.Items) == 0 {
		return "", fmt.Errorf("no pod is labelled leader")
	}
	addr := s.kubelet.address(pods.Items[0].Name)
	if addr == "" {
		return "", fmt.Errorf("%s does not run", pods.Items[0].Name)
	}
	return addr, nil
}
