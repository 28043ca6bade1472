package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/limits"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/load"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/results"
)

// subject is a system that is measured under a series of loads, together with the meters of its resource usage.
type subject struct {
	name    string
	address string
	members int // number of members that sync a log
	meters  meters
	run     func(ctx context.Context, sh load.Shape, n int) (load.Result, error)
}

// spot is one load: a place on the x axis.
type spot struct {
	x     float64
	label string
	shape load.Shape
}

// series is one subject's points during the measurement.
type series struct {
	subject
	spots []*measured
}

// measured is one point during the measurement.
type measured struct {
	spot
	rate    float64 // of the previous run
	samples []load.Result
	uses    []limits.Use
}

// speaker returns the subject for a server that speaks Redis's protocol, measured with redis-benchmark.
func speaker(name, address string, members int, m meters) subject {
	return subject{name: name, address: address, members: members, meters: m, run: func(ctx context.Context, sh load.Shape, n int) (load.Result, error) {
		return load.Redis(ctx, address, sh, n)
	}}
}

// lines measures every subject at every spot, round by round. At each spot it also measures the null server, which shows what the
// load generator and loopback can do.
func (s *site) lines(ctx context.Context, out io.Writer, name string, g limits.Gauge, spots []spot, subjects ...subject) ([]results.Line, error) {
	null := speaker(sysNull, s.null.Address, 0, meters{pids: s.null.Pids()})
	var all []*series
	for _, sub := range append(subjects, null) {
		line := &series{subject: sub}
		for _, at := range spots {
			line.spots = append(line.spots, &measured{spot: at})
		}
		all = append(all, line)
	}
	if err := measureAll(ctx, s.o, all); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	nulls := all[len(all)-1]
	var lines []results.Line
	for _, line := range all[:len(all)-1] {
		l := line.result(g, nulls.spots)
		for _, p := range l.Points {
			limit, _ := limits.Binding(p.Limits)
			fmt.Fprintf(out, "%s, %s  %-26s %10.0f /s, of %.0f by %s\n", name, p.Label, l.Name, results.SpreadOf(p.Samples).Median, limit.Rate, limit.Name)
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// measureAll goes through the points round by round. All series have the same points.
func measureAll(ctx context.Context, o options, all []*series) error {
	for round := range o.rounds + 1 { // the first one warms up
		for i, at := range all[0].spots {
			for j := range all {
				line := all[(i+j+round)%len(all)] // rotate, so that no series always goes first
				if err := line.measure(ctx, o, i, round); err != nil {
					return fmt.Errorf("%s: %s: %w", at.label, line.name, err)
				}
			}
		}
	}
	return nil
}

func (l *series) measure(ctx context.Context, o options, i, round int) error {
	at := l.spots[i]
	n := requests(at.shape, at.rate*o.point.Seconds())
	before, err := l.meters.read(ctx)
	if err != nil {
		return err
	}
	r, err := l.run(ctx, at.shape, n)
	if err != nil {
		return err
	}
	if r.Requests == 0 {
		return errors.New("no request was answered")
	}
	after, err := l.meters.read(ctx)
	if err != nil {
		return err
	}
	if at.rate = r.Rate; round > 0 {
		at.samples = append(at.samples, r)
		at.uses = append(at.uses, useOf(l.members, at.shape, r, before, after))
	}
	return nil
}

// warmBytes limits the first run, whose duration cannot be predicted.
const warmBytes = 16 << 20

// requests returns the number of requests of one run: as many as wanted (0: unknown), but at least some for each connection.
func requests(sh load.Shape, wanted float64) int {
	if wanted == 0 {
		wanted = float64(min(first, warmBytes/sh.Value))
	}
	return max(int(wanted), 2*sh.Connections*sh.Pipeline)
}

// result computes the medians over the rounds, and the limits that follow from the resources used.
func (l *series) result(g limits.Gauge, nulls []*measured) results.Line {
	line := results.Line{Name: l.name}
	for i, at := range l.spots {
		p := results.Point{X: at.x, Label: at.label, Use: medianUse(at.uses)}
		p.Use.Null = median(nulls[i].samples, rate)
		for _, r := range at.samples {
			p.Samples = append(p.Samples, r.Rate)
		}
		p.Millis = results.Latency{
			P50: median(at.samples, func(r load.Result) float64 { return ms(r.P50) }),
			P99: median(at.samples, func(r load.Result) float64 { return ms(r.P99) }),
			Max: median(at.samples, func(r load.Result) float64 { return ms(r.Max) }),
		}
		p.Limits = g.Of(p.Use)
		line.Points = append(line.Points, p)
	}
	return line
}

func medianUse(all []limits.Use) limits.Use {
	u := limits.Use{
		Batch:     median(all, func(u limits.Use) float64 { return u.Batch }),
		Processor: median(all, func(u limits.Use) float64 { return u.Processor }),
		Generator: median(all, func(u limits.Use) float64 { return u.Generator }),
		DiskBytes: median(all, func(u limits.Use) float64 { return u.DiskBytes }),
		Moved:     median(all, func(u limits.Use) float64 { return u.Moved }),
	}
	if len(all) > 0 {
		u.Members, u.AtMost = all[0].Members, all[0].AtMost
	}
	return u
}

// median returns the median of a figure, or 0 if there are none.
func median[T any](all []T, figure func(T) float64) float64 {
	figures := make([]float64, len(all))
	for i, one := range all {
		figures[i] = figure(one)
	}
	return results.SpreadOf(figures).Median
}
