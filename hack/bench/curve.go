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

// subject is a system that is put under one load after the other, and what shows how much it uses.
type subject struct {
	name    string
	address string
	members int // that sync a log
	meters  meters
	run     func(ctx context.Context, sh load.Shape, n int) (load.Result, error)
}

// spot is one load: a place on the x axis.
type spot struct {
	x     float64
	label string
	shape load.Shape
}

// series is one subject's points while they are measured.
type series struct {
	subject
	spots []*measured
}

// measured is one point while it is.
type measured struct {
	spot
	rate    float64 // of the run before
	samples []load.Result
	uses    []limits.Use
}

// speaker is any server that speaks Redis's protocol, under redis-benchmark.
func speaker(name, address string, members int, m meters) subject {
	return subject{name: name, address: address, members: members, meters: m, run: func(ctx context.Context, sh load.Shape, n int) (load.Result, error) {
		return load.Redis(ctx, address, sh, n)
	}}
}

// lines measures every subject at every spot, round by round, with the null server at each spot for what the load generator
// and loopback can do.
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

// measureAll goes round by round through the points, which all series have in common.
func measureAll(ctx context.Context, o options, all []*series) error {
	for round := range o.rounds + 1 { // the first one warms up
		for i, at := range all[0].spots {
			for j := range all {
				line := all[(i+j+round)%len(all)] // nobody always comes first
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

// warmBytes bounds a first run, of which nobody knows yet how long it takes.
const warmBytes = 16 << 20

// requests of one run: those that are wanted (0: nobody knows), but some for each connection.
func requests(sh load.Shape, wanted float64) int {
	if wanted == 0 {
		wanted = float64(min(first, warmBytes/sh.Value))
	}
	return max(int(wanted), 2*sh.Connections*sh.Pipeline)
}

// result has the medians over the rounds, and the limits by what was used.
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

// median of a figure; 0 when there are none.
func median[T any](all []T, figure func(T) float64) float64 {
	figures := make([]float64, len(all))
	for i, one := range all {
		figures[i] = figure(one)
	}
	return results.SpreadOf(figures).Median
}
