//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// These take long; `make e2e` leaves them out, and `make e2e-long` runs them.

const (
	kills      = 20
	fillBytes  = 2 << 30
	fillValue  = 64 << 10
	killsLimit = 30 * time.Minute
)

var _ = Describe("a store under load, for long", Label(labelLong), func() {
	It("loses nothing when its leader's process is killed twenty times in a row", func(ctx SpecContext) {
		onOwnCluster()
		store := own(ctx, nil)
		t := beginWith(ctx, store, ledger.Options{Connections: 64, Rate: 1500})
		var gaps []time.Duration
		for i := range kills {
			ready(ctx, store)
			leader, _, epoch, err := store.Leader(ctx)
			Expect(err).NotTo(HaveOccurred())
			begun := time.Now()
			Expect(world.Cluster.KillProcess(ctx, store.Namespace, leader)).To(Succeed())
			rs := ledAfter(ctx, store, epoch)
			t.writes(ctx, fmt.Sprintf("after kill %d", i+1))
			stats, err := t.writer.Stats(begun)
			Expect(err).NotTo(HaveOccurred())
			gaps = append(gaps, stats.Gap.Length())
			r := rs.Status.LastFailover
			Expect(r.Epoch).To(BeNumerically(">", epoch), "the failover after kill %d is reported", i+1)
			Expect(r.WritesLost).To(Equal(v1alpha1.LostNone))
			tell(fmt.Sprintf("kill %d of %s: %s -> %s, epoch %d, gap %v", i+1, leader, r.From, r.To, r.Epoch, stats.Gap.Length().Round(time.Millisecond)))
		}
		t.end(ctx)
		slices.Sort(gaps)
		AddReportEntry("write gap", fmt.Sprintf("median %v, worst %v over %d kills with 64 connections",
			gaps[len(gaps)/2].Round(time.Millisecond), gaps[len(gaps)-1].Round(time.Millisecond), kills))
	}, SpecTimeout(killsLimit))

	It("seeds a follower with two gigabytes while writes go on", func(ctx SpecContext) {
		onOwnCluster()
		store := own(ctx, func(rs *v1alpha1.ReplicatedStore) { rs.Spec.Storage.Size = resource.MustParse("10Gi") })
		address, err := store.Address(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(world.Cluster.InClient(ctx, self(), fillerArgument, address, strconv.Itoa(fillBytes))).To(Succeed())

		// The timeout is the default of public client libraries, not the ledger's shorter one: all members share one disk.
		t := beginWith(ctx, store, ledger.Options{Connections: 16, Rate: 500, Timeout: 3 * time.Second})
		begun := time.Now()
		Expect(store.Scale(ctx, 4)).To(Succeed())
		seen := watchSeeding(ctx, store)
		took := time.Since(begun)
		Expect(seen.TotalBytes).To(BeNumerically(">", int64(fillBytes)/2))
		r := t.end(ctx)
		Expect(r.Failed).To(BeZero(), "no write may fail while a follower is seeded")
		Expect(r.Unknown).To(BeZero())
		AddReportEntry("seeding", fmt.Sprintf("%s in %v with writes going on; last progress seen: %d%%, %s, %s left",
			seen.Total, took.Round(time.Second), seen.Percent, seen.Rate, seen.TimeLeft))
	}, SpecTimeout(killsLimit))
})

// watchSeeding waits until the store is Ready with four members, and returns the last seeding progress that it saw meanwhile.
func watchSeeding(ctx context.Context, s *stage.Store) (seen v1alpha1.SeedingStatus) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		rs, err := s.Get(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		for _, m := range rs.Status.Members {
			if m.Seeding != nil && m.Seeding.Rate != "" {
				seen = *m.Seeding
				tell(fmt.Sprintf("%s is seeded: %d%%, %s of %s, %s, %s left", m.Name, seen.Percent, seen.Done, seen.Total, seen.Rate, seen.TimeLeft))
			}
		}
		g.Expect(stage.Ready(rs)).To(Succeed())
		g.Expect(rs.Status.Members).To(HaveLen(4))
	}, 10*time.Minute, 200*time.Millisecond).Should(Succeed())
	Expect(seen.TotalBytes).NotTo(BeZero(), "progress of the seeding must have been visible in status")
	return seen
}

// fillerArgument makes this program write incompressible values. It then runs on the cluster's client machine.
const fillerArgument = "filler"

// fill writes total bytes in values of 64 KiB, pipelined.
func fill(ctx context.Context, address string, total int) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return err
	}
	client := redis.NewClient(&redis.Options{Addr: address, ReadTimeout: time.Minute, WriteTimeout: time.Minute})
	defer client.Close()
	const batch = 16
	value := make([]byte, fillValue)
	for i := 0; i < total/fillValue; i += batch {
		pipe := client.Pipeline()
		for j := range batch {
			_, _ = rand.Read(value) // never fails: it crashes the process instead
			pipe.Set(ctx, fmt.Sprintf("fill:%d", i+j), string(value), 0)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("fill at value %d: %w", i, err)
		}
	}
	return nil
}
