package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/limits"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/load"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/peers"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/results"
	"github.com/replicatedstore/replicatedstore/hack/local/fleet"
)

const sysRedisAlone = "Redis always, no replica"

// curve is one figure over a range.
type curve struct {
	results.Curve
	measure func(ctx context.Context, s *site, out io.Writer, g limits.Gauge) ([]results.Line, error)
}

// curvePlan returns all curves. The ones that write most come last, because they keep the disk busy for a while.
func curvePlan() []curve {
	return []curve{
		{results.Curve{
			Name: "connections", Title: "SET by the number of connections", Load: "values of 128 bytes", X: "connections", LogX: true, LogY: true,
			Note: "Redis does not tell how often it syncs: what can be on its way at once is taken for one sync. WAIT 1 is sent with each SET, by this program's own " +
				"generator; the other rows have redis-benchmark.",
		}, byConnections},
		{results.Curve{
			Name: "data", Title: "GET and SET by the size of the data set", X: "data set / memory", LogX: true, LogY: true,
			Load: fmt.Sprintf("a store of three members (k = 1) with --memory=%d (%d MiB), values of 1 KiB, 50 connections, pipeline 16", smallMemory, smallMemory>>20),
			Note: "Memory is that of block cache, memtables and rows together. The files stay in the system's page cache: what shows is the store's cache, not the disk.",
		}, byData},
		{results.Curve{
			Name: "members", Title: "SET by the number of members", Load: "k = 1, and 0 for one member; values of 128 bytes, 50 connections", X: "members",
		}, byMembers},
		{results.Curve{Name: "k", Title: "SET by k, five members", Load: "values of 128 bytes, 50 connections", X: "k"}, bySync},
		{results.Curve{
			Name: "value", Title: "SET by the size of values", Load: "16 connections", X: "size of a value", LogX: true, LogY: true,
			Note: fmt.Sprintf("Keys are drawn from as many as make %d MiB, at most a hundred thousand.", valueSpace>>20),
		}, byValue},
	}
}

func byConnections(ctx context.Context, s *site, out io.Writer, g limits.Gauge) (_ []results.Line, err error) {
	alone, err := peers.StartRedis(ctx, filepath.Join(s.dir, "alone"), 0)
	if err != nil {
		return nil, err
	}
	defer alone.Stop()
	var spots []spot
	for _, c := range []int{1, 4, 16, 64, 256} {
		spots = append(spots, spot{float64(c), fmt.Sprint(c), shape("set", c, 1)})
	}
	redis := meters{pids: s.redis.Pids(), disk: s.disk}
	waiting := subject{name: sysWait, address: s.redis.Address, members: 3, meters: redis, run: func(ctx context.Context, sh load.Shape, _ int) (load.Result, error) {
		r, _, err := load.Loop{Shape: sh, Wait: 1, For: s.o.point}.Run(ctx, s.redis.Address)
		return r, err
	}}
	return s.lines(ctx, out, "connections", g, spots,
		speaker(sysStore, leader(s.store), 3, fleetMeters(s.store, s.disk)), speaker(sysSingle, leader(s.single), 1, fleetMeters(s.single, s.disk)),
		speaker(sysRedis, s.redis.Address, 3, redis), speaker(sysRedisAlone, alone.Address, 1, meters{pids: alone.Pids(), disk: s.disk}), waiting)
}

// valueSpace is the maximum size of all keys and values in the curve by value size, in bytes.
const valueSpace = 256 << 20

func byValue(ctx context.Context, s *site, out io.Writer, g limits.Gauge) ([]results.Line, error) {
	var spots []spot
	for _, v := range []struct {
		bytes int
		label string
	}{{16, "16 B"}, {128, "128 B"}, {1 << 10, "1 KiB"}, {8 << 10, "8 KiB"}, {64 << 10, "64 KiB"}, {256 << 10, "256 KiB"}, {1 << 20, "1 MiB"}} {
		sh := load.Shape{Command: "set", Connections: 16, Pipeline: 1, Value: v.bytes, Keys: min(keySpace, valueSpace/v.bytes)}
		spots = append(spots, spot{float64(v.bytes), v.label, sh})
	}
	return s.lines(ctx, out, "value", g, spots,
		speaker(sysStore, leader(s.store), 3, fleetMeters(s.store, s.disk)), speaker(sysSingle, leader(s.single), 1, fleetMeters(s.single, s.disk)))
}

// byMembers and bySync start a store for each point.
func byMembers(ctx context.Context, s *site, out io.Writer, g limits.Gauge) ([]results.Line, error) {
	var sizes []storeSize
	for members := 1; members <= mostMembers; members++ {
		sizes = append(sizes, storeSize{float64(members), members, min(1, members-1)})
	}
	return s.bySize(ctx, out, "members", g, sizes)
}

func bySync(ctx context.Context, s *site, out io.Writer, g limits.Gauge) ([]results.Line, error) {
	var sizes []storeSize
	for k := range 5 {
		sizes = append(sizes, storeSize{float64(k), 5, k})
	}
	return s.bySize(ctx, out, "k", g, sizes)
}

type storeSize struct {
	x          float64
	members, k int
}

func (s *site) bySize(ctx context.Context, out io.Writer, name string, g limits.Gauge, sizes []storeSize) ([]results.Line, error) {
	line := results.Line{Name: "store"}
	for i, size := range sizes {
		at := []spot{{size.x, fmt.Sprint(size.x), shape("set", 50, 1)}}
		dir := filepath.Join(s.dir, fmt.Sprintf("%s-%d", name, i))
		err := s.withStore(ctx, dir, size, func(sub subject) error {
			lines, err := s.lines(ctx, out, name, g, at, sub)
			if err == nil {
				line.Points = append(line.Points, lines[0].Points...)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return []results.Line{line}, nil
}

// withStore runs a store for the duration of use.
func (s *site) withStore(ctx context.Context, dir string, size storeSize, use func(subject) error, flags ...string) (err error) {
	start, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	f, err := startFleet(start, s.o, dir, size.members, size.k, flags...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Stop()) }()
	if err := s.season(ctx, f); err != nil {
		return err
	}
	return use(speaker("store", leader(f), size.members, fleetMeters(f, s.disk)))
}

// seasonBytes of log bring its segments to their full size. After that, a new one is filled with zeros only occasionally.
const (
	seasonBytes = 48 << 20
	seasonValue = 64 << 10
)

// season writes to a new store until it resembles one that has run for a while. Otherwise the cost of creating segments would be
// attributed to writes.
func (s *site) season(ctx context.Context, f *fleet.Fleet) error {
	if err := load.Fill(ctx, leader(f), 0, seasonBytes/seasonValue, seasonValue); err != nil {
		return fmt.Errorf("write to a new store: %w", err)
	}
	return s.disk.settle(ctx)
}
