package plots

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/limits"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/results"
	"github.com/replicatedstore/replicatedstore/hack/soak/pauses/outcome"
)

// rates draws a curve: medians, with bars from the minimum to the maximum, and the limits of each line, dashed in the line's
// color.
func rates(c *results.Curve) (*figure, error) {
	f := newFigure(c.Title, c.X, "operations a second")
	var ticks plot.ConstantTicks
	for _, l := range c.Lines {
		if err := f.rate(l); err != nil {
			return nil, err
		}
		for _, p := range l.Points {
			if tick := (plot.Tick{Value: p.X, Label: p.Label}); !slices.Contains(ticks, tick) {
				ticks = append(ticks, tick)
			}
		}
	}
	f.X.Tick.Marker = ticks
	limit := &plotter.Line{LineStyle: limitStyle(grey)}
	f.entry("limit of each", limit)
	if c.LogX {
		f.X.Scale = plot.LogScale{}
	}
	f.Y.Tick.Marker = thousands{}
	if c.LogY {
		f.Y.Scale, f.Y.Tick.Marker = plot.LogScale{}, factors{}
	} else {
		f.Y.Min = 0
	}
	return f, nil
}

// rate adds one line of a curve.
func (f *figure) rate(l results.Line) error {
	style := f.next()
	var at bars
	var limit plotter.XYs
	for _, p := range l.Points {
		s := results.SpreadOf(p.Samples)
		at.XYs = append(at.XYs, plotter.XY{X: p.X, Y: s.Median})
		at.YErrors = append(at.YErrors, struct{ Low, High float64 }{s.Median - s.Min, s.Max - s.Median})
		if lowest, ok := limits.Binding(p.Limits); ok {
			limit = append(limit, plotter.XY{X: p.X, Y: lowest.Rate})
		}
	}
	line, dots, err := plotter.NewLinePoints(at.XYs)
	if err != nil {
		return fmt.Errorf("draw %s: %w", l.Name, err)
	}
	spread, err := plotter.NewYErrorBars(at)
	if err != nil {
		return fmt.Errorf("draw %s: %w", l.Name, err)
	}
	line.LineStyle = style
	dots.GlyphStyle = draw.GlyphStyle{Color: style.Color, Radius: 2, Shape: draw.CircleGlyph{}}
	spread.LineStyle = draw.LineStyle{Color: style.Color, Width: 0.5}
	f.Add(spread, line, dots)
	f.entry(l.Name, line, dots)
	if len(limit) == 0 {
		return nil
	}
	bound, err := plotter.NewLine(limit)
	if err != nil {
		return fmt.Errorf("draw the limit of %s: %w", l.Name, err)
	}
	bound.LineStyle = limitStyle(style.Color)
	f.Add(bound)
	return nil
}

func limitStyle(c color.Color) draw.LineStyle {
	return draw.LineStyle{Color: c, Width: 0.75, Dashes: []vg.Length{3, 3}}
}

type bars struct {
	plotter.XYs
	plotter.YErrors
}

// latencies draws percentile curves. On the x axis every additional nine takes the same width.
func latencies(all []results.Distribution) (*figure, error) {
	f := newFigure("Latency of SET, 50 connections", "share of the writes that took at most as long", "ms")
	for _, d := range all {
		var at plotter.XYs
		for _, q := range d.Quantiles {
			if q.At < 1 && q.Millis > 0 { // the maximum has no place on the axis
				at = append(at, plotter.XY{X: nines(q.At), Y: q.Millis})
			}
		}
		line, err := plotter.NewLine(at)
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", d.System, err)
		}
		line.LineStyle = f.next()
		f.Add(line)
		f.entry(d.System, line)
	}
	f.X.Min, f.X.Max = 0, nines(0.9999)
	var ticks plot.ConstantTicks
	for _, t := range []struct {
		at    float64
		label string
	}{{0, "0"}, {0.5, "50 %"}, {0.9, "90 %"}, {0.99, "99 %"}, {0.999, "99.9 %"}, {0.9999, "99.99 %"}} {
		ticks = append(ticks, plot.Tick{Value: nines(t.at), Label: t.label})
	}
	f.X.Tick.Marker = ticks
	f.Y.Scale, f.Y.Tick.Marker = plot.LogScale{}, factors{}
	return f, nil
}

func nines(share float64) float64 { return -math.Log10(1 - share) }

// gaps draws, for each kind of fault, the distribution of the pauses in writes.
func gaps(r *outcome.Report) (*figure, error) {
	f := newFigure("Pause of writes after a fault", "seconds", "share of the faults")
	longest := 0.0
	for _, fault := range r.Faults {
		for _, o := range fault.Times {
			longest = max(longest, o.Pause.Seconds())
		}
	}
	for _, fault := range r.Faults {
		if len(fault.Times) == 0 {
			continue
		}
		line, err := plotter.NewLine(cumulative(fault.Times, longest))
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", fault.Name, err)
		}
		line.LineStyle, line.StepStyle = f.next(), plotter.PostStep
		f.Add(line)
		f.entry(fmt.Sprintf("%s (%d)", fault.Name, len(fault.Times)), line)
	}
	f.X.Min, f.Y.Min, f.Y.Max = 0, 0, 1
	return f, nil
}

// cumulative returns the share of outcomes whose pause was at most X, for X from 0 to the longest pause of all faults.
func cumulative(times []outcome.Outcome, longest float64) plotter.XYs {
	pauses := make([]time.Duration, len(times))
	for i, o := range times {
		pauses[i] = o.Pause
	}
	slices.Sort(pauses)
	at := plotter.XYs{{X: 0, Y: 0}}
	for i, p := range pauses {
		at = append(at, plotter.XY{X: p.Seconds(), Y: float64(i+1) / float64(len(pauses))})
	}
	return append(at, plotter.XY{X: longest, Y: 1})
}
