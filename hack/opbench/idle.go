package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// storeName returns the name of store n, counting from 1.
func storeName(n int) string { return fmt.Sprintf("store-%04d", n) }

// grow creates stores until there are n, and waits until all are ready.
func (b *bench) grow(ctx context.Context, n int) error {
	began := time.Now()
	for ; b.made < n; b.made++ {
		s := &v1alpha1.ReplicatedStore{ObjectMeta: metav1.ObjectMeta{Namespace: storesIn, Name: storeName(b.made + 1)}}
		s.Spec.Storage.Size = resource.MustParse("1Gi")
		if b.o.lease > 0 {
			s.Spec.Failover.LeaseDurationSeconds = &b.o.lease
		}
		if err := b.client.Create(ctx, s); err != nil {
			return fmt.Errorf("make %s: %w", s.Name, err)
		}
	}
	for said := time.Now(); ; {
		ready, err := b.ready(ctx)
		if err != nil {
			return err
		}
		if ready >= n || time.Since(said) >= 5*time.Second {
			said = time.Now()
			fmt.Fprintf(b.out, "  %d of %d stores are ready after %v\n", ready, n, time.Since(began).Round(time.Second))
		}
		if ready >= n {
			return nil
		}
		if err := b.pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// ready returns the number of stores that are ready.
func (b *bench) ready(ctx context.Context) (n int, err error) {
	list := &v1alpha1.ReplicatedStoreList{}
	if err := b.cache.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return 0, err
	}
	for i := range list.Items {
		if list.Items[i].Status.Phase == v1alpha1.PhaseReady {
			n++
		}
	}
	return n, nil
}

// pause waits for d. It fails if the operator dies meanwhile.
func (b *bench) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return b.alive()
	case <-b.operator.process.Done():
		return b.alive()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// idle is what the operator costs with this many stores in which nothing happens.
type idle struct {
	stores        int
	took          time.Duration
	requests      map[string]int
	before, after usage
	passes        histogram
}

// tries is how often the measurement of idle stores is repeated because something happened to them.
const tries = 3

// measureIdle measures while nothing happens. If the machine is too busy, leaders seem lost, and the measurement does not count.
func (b *bench) measureIdle(ctx context.Context, n int) (i idle, err error) {
	for range tries {
		before := b.leaderships()
		if i, err = b.observeIdle(ctx, n); err != nil {
			return i, err
		}
		more := b.leaderships() - before
		if more == 0 {
			return i, nil
		}
		fmt.Fprintf(b.out, "  %d leaders were replaced meanwhile: that was not idle\n", more)
	}
	return i, errors.New("leaders are replaced while nothing should happen: the machine is too slow for so many stores, or something is wrong")
}

func (b *bench) observeIdle(ctx context.Context, n int) (i idle, err error) {
	fmt.Fprintf(b.out, "leaving %d stores alone for %v\n", n, b.o.settle)
	if err := b.pause(ctx, b.o.settle); err != nil {
		return i, err
	}
	i.stores = n
	if i.before, err = b.operator.usage(ctx); err != nil {
		return i, err
	}
	if _, err := b.audit.take(); err != nil {
		return i, err
	}
	for began := time.Now(); time.Since(began) < b.o.idle; {
		if err := b.pause(ctx, min(10*time.Second, b.o.idle-time.Since(began))); err != nil {
			return i, err
		}
		fmt.Fprintf(b.out, "  measuring: %v of %v\n", time.Since(began).Round(time.Second), b.o.idle)
	}
	if i.requests, err = b.audit.take(); err != nil {
		return i, err
	}
	if i.after, err = b.operator.usage(ctx); err != nil {
		return i, err
	}
	i.took, i.passes = i.after.at.Sub(i.before.at), i.after.passes.since(i.before.passes)
	if i.passes.count == 0 {
		return i, errors.New("the operator looked at no store")
	}
	return i, nil
}

// leaderships returns the number of leaderships so far.
func (b *bench) leaderships() (n int) {
	for _, s := range b.fleet.all() {
		n += s.cluster.Leaderships()
	}
	return n
}

func (i idle) perMinute(n float64) float64 { return n / i.took.Minutes() }

// calls returns the API calls per minute: for stores, for the operators' election, and for restarted watches.
func (i idle) calls() (stores, elected, watches float64) {
	for kind, n := range i.requests {
		switch {
		case strings.HasSuffix(kind, election):
			elected += float64(n)
		case strings.HasPrefix(kind, "watch "):
			watches += float64(n)
		default:
			stores += float64(n)
		}
	}
	return i.perMinute(stores), i.perMinute(elected), i.perMinute(watches)
}

func mib(bytes float64) float64 { return bytes / (1 << 20) }

func tellIdle(out io.Writer, idles []idle) {
	fmt.Fprint(out, "\n| idle stores | API calls a minute | of the operators' election | watches begun again a minute | resident MiB | heap MiB | goroutines | "+
		"CPU seconds a minute | passes a minute | pass, mean | p50 | p99 |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, i := range idles {
		stores, elected, watches := i.calls()
		fmt.Fprintf(out, "| %d | %.1f | %.1f | %.1f | %.0f | %.0f | %.0f | %.2f | %.0f | %.1f ms | <= %v | <= %v |\n", i.stores, stores, elected, watches,
			mib(float64(i.after.resident)), mib(i.after.heap), i.after.goroutines, i.perMinute((i.after.cpu - i.before.cpu).Seconds()),
			i.perMinute(i.passes.count), 1000*i.passes.mean().Seconds(), i.passes.at(0.5), i.passes.at(0.99))
	}
	fmt.Fprint(out, "\n| idle stores | request | a minute |\n| --- | --- | --- |\n")
	for _, i := range idles {
		for _, kind := range slices.Sorted(maps.Keys(i.requests)) {
			fmt.Fprintf(out, "| %d | %s | %.1f |\n", i.stores, kind, i.perMinute(float64(i.requests[kind])))
		}
	}
}
