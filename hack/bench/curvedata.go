package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/limits"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/load"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/results"
)

// Parameters of the curve by data size.
const (
	smallMemory = 16 << 20 // the minimum of a member, so that ten times as much is written soon
	dataValue   = 1 << 10
)

// byData fills a store step by step. At each step it reads and writes what is there.
func byData(ctx context.Context, s *site, out io.Writer, g limits.Gauge) ([]results.Line, error) {
	get, set := results.Line{Name: "GET"}, results.Line{Name: "SET"}
	size := storeSize{members: 3, k: 1}
	err := s.withStore(ctx, filepath.Join(s.dir, "data"), size, func(sub subject) error {
		filled := 0
		for _, times := range []float64{0.25, 0.5, 1, 2, 5, 10} {
			keys := int(times * smallMemory / (keyBytes + dataValue))
			if err := load.Fill(ctx, sub.address, filled, keys, dataValue); err != nil {
				return fmt.Errorf("fill the store with %d keys: %w", keys, err)
			}
			filled = keys
			if err := s.disk.settle(ctx); err != nil {
				return err
			}
			for _, line := range []struct {
				into    *results.Line
				command string
			}{{&get, "get"}, {&set, "set"}} {
				sub.name = line.into.Name
				sh := load.Shape{Command: line.command, Connections: 50, Pipeline: 16, Value: dataValue, Keys: keys}
				lines, err := s.lines(ctx, out, "data", g, []spot{{times, fmt.Sprint(times), sh}}, sub)
				if err != nil {
					return err
				}
				line.into.Points = append(line.into.Points, lines[0].Points...)
			}
		}
		return nil
	}, fmt.Sprintf("--memory=%d", smallMemory))
	return []results.Line{get, set}, err
}
