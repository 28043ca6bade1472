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
)

// Of the measurement of stalls.
const (
	stallTime = 30 * time.Second
	stallGoal = 10 // times the median
)

// stalls writes values of 4 KiB without a pause while segments roll, tables are flushed and compacted, and one follower is
// emptied and seeded again by snapshot.
func stalls(ctx context.Context, o options, dir string) (_ []results.Fact, err error) {
	f, err := startFleet(ctx, o, dir, 3, 1, "--log-retain-bytes=67108864")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Stop()) }()
	loop := load.Loop{Shape: load.Shape{Connections: 16, Pipeline: 1, Value: 4096, Keys: 100_000}, For: 10 * time.Second}
	if _, _, err := loop.Run(ctx, leader(f)); err != nil { // fills it
		return nil, err
	}
	loop.For = stallTime
	seeded := make(chan error, 1)
	go func() { seeded <- reseed(ctx, f) }()
	r, all, err := loop.Run(ctx, leader(f))
	if err = errors.Join(err, <-seeded); err != nil {
		return nil, err
	}
	p999 := all.At(0.999)
	return []results.Fact{{
		Name:   "write latency while segments roll, tables are compacted and a follower is seeded: p50, p99, p99.9, worst",
		Ours:   fmt.Sprintf("%.1f, %.1f, %.1f, %.1f ms", ms(r.P50), ms(r.P99), ms(p999), ms(r.Max)),
		Goal:   fmt.Sprintf("p99.9 <= %d x p50", stallGoal),
		Met:    p999 <= stallGoal*r.P50,
		Reason: fmt.Sprintf("16 connections, values of 4 KiB, %.0f writes a second; everything shares one disk and the processors", r.Rate),
	}}, nil
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
