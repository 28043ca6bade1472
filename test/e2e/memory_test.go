//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

var _ = Describe("a memory limit", func() {
	// The kernel kills a process that takes more; see docs/api.md, "How much memory a member needs".
	It("is kept while the longest values are written and read by many", func(ctx SpecContext) {
		onOwnCluster()
		store := own(ctx, func(rs *v1alpha1.ReplicatedStore) {
			rs.Spec.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")}
			rs.Spec.Storage.Size = resource.MustParse("2Gi")
		})
		address, err := store.Address(ctx)
		Expect(err).NotTo(HaveOccurred())
		for _, who := range []struct{ writers, readers string }{{"8", "0"}, {"0", "60"}, {"4", "30"}} {
			did, err := world.Cluster.On(ctx, "client", self(), heavyArgument, address, who.writers, who.readers)
			Expect(err).NotTo(HaveOccurred(), "%v", who)
			rowOf().read(strings.TrimSpace(did))
		}
		pods, err := store.Pods(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(pods).To(HaveLen(3))
		for name, pod := range pods {
			Expect(restartsOf(pod)).To(BeZero(), "%s: %+v", name, pod.Status.ContainerStatuses)
		}
	}, SpecTimeout(3*readyTimeout))
})

// heavyArgument makes this program put a heavy load on a store. Further arguments are its address and the numbers of writers and
// readers.
const heavyArgument = "heavy-load"

const (
	heavyTime = 15 * time.Second
	heavyKeys = 20
	heavySize = 4 << 20 // bytes; the largest value possible with a limit of 256Mi
)

// loadHeavily writes and reads the longest values for a while, and returns what it did. It stops at the first error.
func loadHeavily(address string, writers, readers int) (string, error) {
	first := redis.NewClient(ledger.ClientOptions(address, heavyPatience, nil))
	defer func() { _ = first.Close() }()
	for begun := time.Now(); first.Ping(context.Background()).Err() != nil && time.Since(begun) < heavyPatience; {
		time.Sleep(pollPeriod) // a Service that is ready may need another moment before it leads to the leader
	}
	ctx, cancel := context.WithTimeout(context.Background(), heavyTime)
	defer cancel()
	value := make([]byte, heavySize)
	_, _ = rand.Read(value)
	all, failed := errgroup.WithContext(context.Background())
	var wrote, read atomic.Int64
	client := func(n, of int, once func(c *redis.Client, key string) error) {
		all.Go(func() error {
			c := redis.NewClient(ledger.ClientOptions(address, heavyPatience, nil))
			defer func() { _ = c.Close() }()
			for i := 0; ctx.Err() == nil && failed.Err() == nil; i++ {
				if err := once(c, fmt.Sprint("long-", (n+i*of)%heavyKeys)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for n := range writers { // so that every key is written soon, however slow it is
		client(n, writers, func(c *redis.Client, key string) error {
			wrote.Add(1)
			return c.Set(context.Background(), key, value, 0).Err()
		})
	}
	for n := range readers {
		client(n, 1, func(c *redis.Client, key string) error {
			read.Add(1)
			return c.Get(context.Background(), key).Err()
		})
	}
	err := all.Wait()
	return fmt.Sprintf("%d writers %d, %d readers %d", writers, wrote.Load(), readers, read.Load()), err
}

// heavyPatience is the timeout of one request: many have to wait for their turn.
const heavyPatience = 30 * time.Second
