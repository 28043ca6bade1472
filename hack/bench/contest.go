package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/load"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/peers"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/results"
	"github.com/replicatedstore/replicatedstore/hack/local/fleet"
)

// The systems, by their names in tables.
const (
	sysStore  = "store (3 members, k = 1)"
	sysSingle = "store (1 member)"
	sysRedis  = "Redis always"
	sysWait   = "Redis always + WAIT 1"
	sysEtcd   = "etcd"
	sysDisk   = "fdatasync"
	sysDisks  = "fdatasync, 3 files at once"
	sysNull   = "null server"
	sysAll    = "store, all 3 members"
)

// site is all systems, running between start and stop.
type site struct {
	o             options
	dir           string
	disk          disk // the one that dir is on
	store, single *fleet.Fleet
	redis         *peers.Redis
	etcd          *peers.Etcd
	null          *peers.Null
}

// startTimeout limits the start of all systems together.
const startTimeout = 2 * time.Minute

func (s *site) start(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if s.disk, err = diskOf(s.dir); err != nil {
		return err
	}
	if s.store, err = startFleet(ctx, s.o, filepath.Join(s.dir, "store"), 3, 1); err != nil {
		return err
	}
	if s.single, err = startFleet(ctx, s.o, filepath.Join(s.dir, "single"), 1, 0); err != nil {
		return err
	}
	if s.redis, err = peers.StartRedis(ctx, s.dir, 2); err != nil {
		return err
	}
	if s.etcd, err = peers.StartEtcd(ctx, s.o.etcd, s.dir, 3); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.null, err = peers.StartNull(ctx, []string{self, "null"}, s.dir)
	return err
}

func startFleet(ctx context.Context, o options, dir string, members, k int, flags ...string) (*fleet.Fleet, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return fleet.Start(ctx, fleet.Options{Binary: o.node, Members: members, Sync: k, Dir: dir, Flags: flags, WriteTimeout: time.Minute})
}

func (s *site) stop() (err error) {
	for _, f := range []*fleet.Fleet{s.store, s.single} {
		if f != nil {
			err = errors.Join(err, f.Stop())
		}
	}
	if s.redis != nil {
		s.redis.Stop()
	}
	if s.etcd != nil {
		s.etcd.Stop()
	}
	if s.null != nil {
		s.null.Stop()
	}
	return err
}

// leader returns the client address of a fleet's leader.
func leader(f *fleet.Fleet) string { return f.Members()[f.Leader()].Client }

// contest is a comparison of several systems under one load.
type contest struct {
	name   string
	unit   string
	figure func(load.Result) float64
	goals  []results.Goal
	start  func() []*side // called once all systems run
	sides  []*side        // what start returned
}

// side is one system in a contest. run takes about n requests; loads that run for a fixed time ignore n.
type side struct {
	system  string
	run     func(ctx context.Context, n int) (load.Result, error)
	rate    float64 // of the previous run
	samples []load.Result
}

func rate(r load.Result) float64 { return r.Rate }
func p50(r load.Result) float64  { return float64(r.P50) / float64(time.Microsecond) }

// first is the number of requests that warm up a side.
const first = 1000

// contests runs every contest of the plan, round by round.
func contests(ctx context.Context, out io.Writer, o options, dir string, only *regexp.Regexp, report *results.Report) (err error) {
	s := &site{o: o, dir: dir}
	plan := slices.DeleteFunc(s.plan(), func(c *contest) bool { return !only.MatchString(c.name) })
	if len(plan) == 0 {
		return nil
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	for _, c := range plan {
		c.sides = c.start()
	}
	for round := range o.rounds + 1 { // the first one warms up
		for _, c := range plan {
			for i := range c.sides {
				side := c.sides[(i+round)%len(c.sides)] // rotate, so that no side always goes first
				if err := side.measure(ctx, o, round); err != nil {
					return fmt.Errorf("%s: %s: %w", c.name, side.system, err)
				}
				if round > 0 {
					fmt.Fprintf(out, "round %d  %-28s %-26s %10.0f %s\n", round, c.name, side.system, c.figure(side.samples[round-1]), c.unit)
				}
			}
		}
	}
	for _, c := range plan {
		report.Contests = append(report.Contests, c.result())
	}
	return nil
}

func (s *side) measure(ctx context.Context, o options, round int) error {
	n := first
	if s.rate > 0 {
		n = max(500, int(s.rate*o.point.Seconds()))
	}
	r, err := s.run(ctx, n)
	if err != nil {
		return err
	}
	if s.rate = r.Rate; round > 0 {
		s.samples = append(s.samples, r)
	}
	return nil
}

func (c *contest) result() results.Contest {
	out := results.Contest{Name: c.name, Unit: c.unit, Goals: c.goals}
	for _, s := range c.sides {
		side := results.Side{System: s.system}
		var p50, p99, worst []float64
		for _, r := range s.samples {
			side.Samples = append(side.Samples, c.figure(r))
			p50, p99, worst = append(p50, ms(r.P50)), append(p99, ms(r.P99)), append(worst, ms(r.Max))
		}
		out.Sides = append(out.Sides, side)
		out.Millis = append(out.Millis, results.Latency{
			P50: results.SpreadOf(p50).Median, P99: results.SpreadOf(p99).Median, Max: results.SpreadOf(worst).Max,
		})
	}
	return out
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
