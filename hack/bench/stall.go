package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/load"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/results"
	"github.com/replicatedstore/replicatedstore/hack/local/fleet"
	"github.com/replicatedstore/replicatedstore/hack/quantile"
)

// Parameters of the stall measurement.
const (
	stallTime    = 30 * time.Second
	stallMembers = 3
	stallGoal    = 10 // times the median
)

// stalls continuously writes values of 4 KiB while segments roll, tables are flushed and compacted, and one follower is emptied
// and seeded again by snapshot. For comparison it measures how the disk alone delays syncs while the same amount is written.
func stalls(ctx context.Context, o options, dir string) ([]results.Fact, error) {
	r, all, bulk, err := stalled(ctx, o, dir)
	if err != nil {
		return nil, err
	}
	p999 := all.At(0.999)
	fact := results.Fact{
		Name:   "write latency while segments roll, tables are compacted and a follower is seeded: p50, p99, p99.9, worst",
		Ours:   tail(all),
		Goal:   fmt.Sprintf("p99.9 <= %d x p50", stallGoal),
		Met:    p999 <= stallGoal*r.P50,
		Reason: fmt.Sprintf("16 connections, values of 4 KiB, %.0f writes a second; everything shares one disk and the processors", r.Rate),
	}
	if bulk > 0 {
		alone, err := diskAlone(ctx, dir, stallMembers, r.P50, bulk)
		if err != nil {
			return nil, fmt.Errorf("the disk alone: %w", err)
		}
		fact.Theirs = tail(alone)
		fact.Reason += fmt.Sprintf(". Beside it: fdatasync of %d files, each every %.1f ms, while %.0f MB a second are written to others, as was done here beside the logs, and no server runs",
			stallMembers, ms(r.P50), bulk/1e6)
	}
	return []results.Fact{fact}, nil
}

// tail formats p50, p99, p99.9 and the maximum.
func tail(l quantile.Durations) string {
	return fmt.Sprintf("%.1f, %.1f, %.1f, %.1f ms", ms(l.At(0.5)), ms(l.At(0.99)), ms(l.At(0.999)), ms(l.At(1)))
}

// stalled returns the latencies, and how many bytes per second reached the disk in addition to the logs; 0 means unknown.
func stalled(ctx context.Context, o options, dir string) (r load.Result, all quantile.Durations, bulk float64, err error) {
	f, err := startFleet(ctx, o, dir, stallMembers, 1, "--log-retain-bytes=67108864")
	if err != nil {
		return r, nil, 0, err
	}
	defer func() { err = errors.Join(err, f.Stop()) }()
	d, err := diskOf(dir)
	if err != nil {
		return r, nil, 0, err
	}
	loop := load.Loop{Shape: load.Shape{Connections: 16, Pipeline: 1, Value: 4096, Keys: 100_000}, For: 10 * time.Second}
	if _, _, err := loop.Run(ctx, leader(f)); err != nil { // fills it
		return r, nil, 0, err
	}
	before, err := d.written()
	if err != nil {
		return r, nil, 0, err
	}
	loop.For = stallTime
	seeded := make(chan error, 1)
	go func() { seeded <- reseed(ctx, f) }()
	r, all, err = loop.Run(ctx, leader(f))
	if err = errors.Join(err, <-seeded); err != nil {
		return r, nil, 0, err
	}
	after, err := d.written()
	logs := stallMembers * r.Rate * float64(loop.Value)
	return r, all, max(0, float64(after-before)/stallTime.Seconds()-logs), err
}

// reseed empties a follower and waits until it has caught up again.
func reseed(ctx context.Context, f *fleet.Fleet) error {
	target := (f.Leader() + 1) % len(f.Members())
	f.Kill(target)
	if err := os.RemoveAll(f.Members()[target].Dir); err != nil {
		return err
	}
	if err := f.Restart(target); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return f.AwaitVoters(ctx, len(f.Members())-1)
}
