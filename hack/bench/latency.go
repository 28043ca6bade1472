package main

import (
	"context"
	"fmt"
	"io"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/load"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/results"
)

// teller is a system whose load generator reports its latency distribution.
type teller struct {
	system    string
	run       func(ctx context.Context, n int) (load.Result, error)
	quantiles func(ctx context.Context, n int) ([]load.Quantile, error)
}

// latencies measures SET over 50 connections, as reported by each system's own tool.
func (s *site) latencies(ctx context.Context, out io.Writer) (all []results.Distribution, err error) {
	sh := shape("set", 50, 1)
	redis := func(system, address string) teller {
		return teller{
			system: system,
			run:    func(ctx context.Context, n int) (load.Result, error) { return load.Redis(ctx, address, sh, n) },
			quantiles: func(ctx context.Context, n int) ([]load.Quantile, error) {
				return load.RedisQuantiles(ctx, address, sh, n)
			},
		}
	}
	for _, t := range []teller{
		redis(sysStore, leader(s.store)), redis(sysSingle, leader(s.single)), redis(sysRedis, s.redis.Address),
		{
			system: sysEtcd,
			run: func(ctx context.Context, n int) (load.Result, error) {
				return load.Etcd(ctx, s.o.etcdBenchmark, s.etcd.Endpoints, sh, n)
			},
			quantiles: func(ctx context.Context, n int) ([]load.Quantile, error) {
				return load.EtcdQuantiles(ctx, s.o.etcdBenchmark, s.etcd.Endpoints, sh, n)
			},
		},
	} {
		d, err := t.distribution(ctx, s.o, sh)
		if err != nil {
			return nil, fmt.Errorf("latency: %s: %w", t.system, err)
		}
		fmt.Fprintf(out, "latency  %-26s p50 %.2f ms, p99 %.2f ms\n", d.System, d.At(0.5), d.At(0.99))
		all = append(all, d)
	}
	return all, nil
}

// distribution takes one run that is as long as all rounds of a point together.
func (t teller) distribution(ctx context.Context, o options, sh load.Shape) (d results.Distribution, err error) {
	seconds, rate := o.point.Seconds(), 0.0
	for range 2 { // the first run is short, and its rate is too low
		r, err := t.run(ctx, requests(sh, rate*seconds))
		if err != nil {
			return d, err
		}
		rate = r.Rate
	}
	found, err := t.quantiles(ctx, requests(sh, rate*seconds*float64(o.rounds)))
	if err != nil {
		return d, err
	}
	d.System = t.system
	for _, q := range found {
		d.Quantiles = append(d.Quantiles, results.Quantile{At: q.At, Millis: ms(q.Latency)})
	}
	return d, nil
}
