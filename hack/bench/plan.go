package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/load"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/results"
)

// The load of every contest: values of 128 bytes, on keys drawn from a hundred thousand, in a closed loop.
const (
	valueBytes = 128
	keySpace   = 100_000
)

func shape(command string, connections, pipeline int) load.Shape {
	return load.Shape{Command: command, Connections: connections, Pipeline: pipeline, Value: valueBytes, Keys: keySpace}
}

// plan returns the contests with their goals.
func (s *site) plan() []*contest {
	return []*contest{
		s.setLatency(),
		s.set(50, 1), s.set(256, 1), s.set(1, 16), s.set(50, 16), s.set(256, 16),
		s.setWait(1), s.setWait(50), s.setWait(256),
		s.get(50, 1), s.get(50, 16),
		s.getAll(),
	}
}

func plural(connections int) string {
	if connections == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", connections)
}

func atLeast(bound float64, of, to string) results.Goal {
	return results.Goal{Of: of, To: to, Bound: bound}
}

// redisSide returns the side for a server that speaks Redis's protocol.
func redisSide(system, address string, sh load.Shape) *side {
	return &side{system: system, run: func(ctx context.Context, n int) (load.Result, error) { return load.Redis(ctx, address, sh, n) }}
}

// setLatency compares one write at a time with the time that the disk takes for one.
func (s *site) setLatency() *contest {
	sh := shape("set", 1, 1)
	return &contest{
		name: "SET, 1 connection, p50", unit: "µs", figure: p50,
		start: func() []*side {
			return []*side{
				redisSide(sysStore, leader(s.store), sh), redisSide(sysSingle, leader(s.single), sh), redisSide(sysRedis, s.redis.Address, sh),
				{system: sysDisk, run: s.fdatasync(1)}, {system: sysDisks, run: s.fdatasync(len(s.store.Members()))}, redisSide(sysNull, s.null.Address, sh),
			}
		},
		goals: []results.Goal{
			{Of: sysStore, To: sysDisk, Bound: 1.6, AtMost: true},
			{Of: sysSingle, To: sysRedis, Bound: 1 / 1.2, AtMost: true},
		},
	}
}

func (s *site) set(connections, pipeline int) *contest {
	sh := shape("set", connections, pipeline)
	name := "SET, " + plural(connections)
	goals := []results.Goal{atLeast(1, sysStore, sysRedis), atLeast(1.2, sysSingle, sysRedis)}
	if pipeline > 1 {
		name += fmt.Sprintf(", pipeline %d", pipeline)
	} else {
		goals = append(goals, atLeast(10, sysStore, sysEtcd))
	}
	return &contest{
		name: name, unit: "/s", figure: rate, goals: goals,
		start: func() []*side {
			sides := []*side{
				redisSide(sysStore, leader(s.store), sh), redisSide(sysSingle, leader(s.single), sh), redisSide(sysRedis, s.redis.Address, sh),
				redisSide(sysNull, s.null.Address, sh),
			}
			if pipeline > 1 {
				return sides
			}
			return append(sides, &side{system: sysEtcd, run: func(ctx context.Context, n int) (load.Result, error) {
				return load.Etcd(ctx, s.o.etcdBenchmark, s.etcd.Endpoints, sh, n)
			}})
		},
	}
}

// setWait compares with Redis at the store's durability: a write is on disk on one replica before its reply counts. Since
// redis-benchmark cannot send SET and WAIT as one request, both sides use this program's own generator.
func (s *site) setWait(connections int) *contest {
	loop := func(system, address string, wait int) *side {
		l := load.Loop{Shape: shape("set", connections, 1), Wait: wait, For: s.o.point}
		return &side{system: system, run: func(ctx context.Context, _ int) (load.Result, error) {
			r, _, err := l.Run(ctx, address)
			return r, err
		}}
	}
	return &contest{
		name: "SET on a follower's disk, " + plural(connections), unit: "/s", figure: rate,
		start: func() []*side {
			return []*side{loop(sysStore, leader(s.store), 0), loop(sysWait, s.redis.Address, 1), loop(sysNull, s.null.Address, 0)}
		},
		goals: []results.Goal{atLeast(2, sysStore, sysWait)},
	}
}

func (s *site) get(connections, pipeline int) *contest {
	sh, goal := shape("get", connections, pipeline), 1.0
	name := "GET, " + plural(connections)
	if pipeline > 1 {
		name, goal = name+fmt.Sprintf(", pipeline %d", pipeline), 0.8
	}
	return &contest{
		name: name, unit: "/s", figure: rate,
		start: func() []*side {
			return []*side{redisSide(sysStore, leader(s.store), sh), redisSide(sysRedis, s.redis.Address, sh), redisSide(sysNull, s.null.Address, sh)}
		},
		goals: []results.Goal{atLeast(goal, sysStore, sysRedis)},
	}
}

// getAll runs three generators of 16 connections each: once all at the leader, and once one at each member.
func (s *site) getAll() *contest {
	sh := shape("get", 16, 1)
	at := func(system string, addresses []string) *side {
		return &side{system: system, run: func(ctx context.Context, n int) (load.Result, error) { return together(ctx, addresses, sh, n) }}
	}
	return &contest{
		name: "GET, 3 x 16 connections", unit: "/s", figure: rate,
		start: func() []*side {
			var spread, one []string
			for _, m := range s.store.Members() {
				spread, one = append(spread, m.Client), append(one, leader(s.store))
			}
			return []*side{at(sysAll, spread), at(sysStore, one)}
		},
		goals: []results.Goal{atLeast(1, sysAll, sysStore)},
	}
}

// together runs one generator per address in parallel, and adds up their rates.
func together(ctx context.Context, addresses []string, sh load.Shape, n int) (total load.Result, err error) {
	all, errs := make([]load.Result, len(addresses)), make([]error, len(addresses))
	var wg sync.WaitGroup
	for i, address := range addresses {
		wg.Go(func() { all[i], errs[i] = load.Redis(ctx, address, sh, n/len(addresses)) })
	}
	wg.Wait()
	for i, r := range all {
		if errs[i] != nil {
			return total, errs[i]
		}
		total.Rate += r.Rate
		total.P50, total.P99, total.Max = max(total.P50, r.P50), max(total.P99, r.P99), max(total.Max, r.Max)
	}
	return total, nil
}
