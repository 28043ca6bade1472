package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/hack/quantile"
)

// fault is the way in which a leader is lost.
type fault string

const (
	// killed: the process ends, and its host refuses connections.
	killed fault = "killed"
	// frozen: connections stay open, but nobody answers, as when a machine is lost.
	frozen fault = "frozen"
)

// failovers holds how long stores had no leader that takes writes.
type failovers struct {
	alone    []time.Duration // of stores that failed one at a time
	together []time.Duration // of those that failed at the same time
	watched  time.Duration   // of one more that failed with them
	requests map[string]int  // API requests meanwhile
}

// patience limits how long a store may be without a leader.
const patience = 2 * time.Minute

// fail takes the leaders away from a few stores, one after the other, and then from many at the same time.
func (b *bench) fail(ctx context.Context, way fault) (r failovers, err error) {
	all := b.fleet.inOrder()
	count := min(b.o.fail+1, len(all))
	fmt.Fprintf(b.out, "%d stores lose their leaders, one after the other: %s\n", min(b.o.alone, len(all)), way)
	for _, s := range all[:min(b.o.alone, len(all))] {
		took, err := b.strike(ctx, way, []*store{s})
		if err != nil {
			return r, err
		}
		r.alone = append(r.alone, took...)
	}
	if _, err := b.audit.take(); err != nil {
		return r, err
	}
	fmt.Fprintf(b.out, "%d stores lose their leaders at once: %s\n", count, way)
	took, err := b.strike(ctx, way, all[len(all)-count:])
	if err != nil {
		return r, err
	}
	if r.requests, err = b.audit.take(); err != nil {
		return r, err
	}
	r.watched, r.together = took[0], took[1:]
	return r, nil
}

// strike takes the stores' leaders away, measures how long each store had none, and brings back what was lost.
func (b *bench) strike(ctx context.Context, way fault, stores []*store) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	type loss struct {
		s      *store
		leader types.NamespacedName
		took   time.Duration
	}
	losses := make([]*loss, len(stores))
	for i, s := range stores {
		s.busy.Store(true)
		losses[i] = &loss{s: s, leader: types.NamespacedName{Namespace: storesIn, Name: s.cluster.Writable()}}
	}
	var all sync.WaitGroup
	for _, l := range losses {
		all.Go(func() {
			at := b.lose(way, l.leader)
			for l.s.cluster.Writable() == "" && ctx.Err() == nil && b.operator.process.Alive() {
				time.Sleep(5 * time.Millisecond)
			}
			l.took = time.Since(at)
		})
	}
	all.Wait()
	if err := b.alive(); err != nil {
		return nil, err
	}
	var took []time.Duration
	for _, l := range losses {
		if l.s.cluster.Writable() == "" {
			return nil, fmt.Errorf("%s has no leader %v after %s was %s", l.s.name, patience, l.leader.Name, way)
		}
		took = append(took, l.took)
		if way == frozen {
			b.kubelet.Kill(l.leader) // before it is restarted
		}
		b.kubelet.Revive(l.leader)
	}
	return took, b.heal(ctx, stores)
}

// lose takes a leader away, and returns the time since when it is gone.
func (b *bench) lose(way fault, leader types.NamespacedName) time.Time {
	p, _ := b.kubelet.Running(leader)
	m, ok := p.(*member)
	if !ok {
		return time.Now() // it is already gone
	}
	if way == killed {
		b.kubelet.Kill(leader)
	} else {
		m.freeze()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost
}

// heal waits until every store is ready again.
func (b *bench) heal(ctx context.Context, stores []*store) error {
	defer func() {
		for _, s := range stores {
			s.busy.Store(false)
		}
	}()
	if err := b.pause(ctx, 2*time.Second); err != nil { // status must report the loss first
		return err
	}
	for {
		n, err := b.ready(ctx)
		if err != nil || n >= b.made {
			return err
		}
		if err := b.pause(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("%d of %d stores are ready again: %w", n, b.made, err)
		}
	}
}

// at returns the quantile q, from 0 to 1, to the millisecond, or 0 if there are no durations.
func at(all []time.Duration, q float64) time.Duration {
	return quantile.Of(all).At(q).Round(time.Millisecond)
}

func tellFailovers(out io.Writer, way fault, r failovers) {
	requests := 0
	for _, n := range r.requests {
		requests += n
	}
	fmt.Fprintf(out, "\n| leaders %s | stores | least | p50 | p90 | most |\n| --- | --- | --- | --- | --- | --- |\n", way)
	for _, row := range []struct {
		what string
		all  []time.Duration
	}{{"each alone", r.alone}, {"at once", r.together}, {"the one watched, with them", []time.Duration{r.watched}}} {
		fmt.Fprintf(out, "| %s | %d | %v | %v | %v | %v |\n", row.what, len(row.all), at(row.all, 0), at(row.all, 0.5), at(row.all, 0.9), at(row.all, 1))
	}
	if len(r.alone) > 0 && len(r.together) > 0 {
		fmt.Fprintf(out, "\nAt once / alone, medians: %.2f. The one watched / alone: %.2f. API calls from the loss until all stores were whole: %d, %.0f a store.\n",
			float64(at(r.together, 0.5))/float64(at(r.alone, 0.5)), float64(r.watched)/float64(at(r.alone, 0.5)), requests,
			float64(requests)/float64(len(r.together)+1))
	}
}
