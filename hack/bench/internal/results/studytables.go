package results

import (
	"fmt"
	"slices"
	"strings"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/limits"
)

// Markdown formats the study as tables.
func (s *Study) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Machine: %s. %d rounds of about %.1f s a point; rates are median (least to most).\n", s.Machine, s.Rounds, float64(s.PointMillis)/1000)
	s.gauge(&b)
	for i := range s.Curves {
		s.Curves[i].table(&b)
	}
	s.latencies(&b)
	return b.String()
}

func (s *Study) gauge(b *strings.Builder) {
	g := s.Gauge
	if len(g.Syncs) == 0 {
		return
	}
	var each []string
	for i, rate := range g.Syncs {
		each = append(each, fmt.Sprintf("%d: %s", i+1, number(rate)))
	}
	fmt.Fprintf(b, "\nWhat the machine could do meanwhile: fdatasyncs a second of each of so many files at once: %s. Three files at once, from their beginning on: %s MB/s. "+
		"Loopback, to a server that drops what it gets: %s MB/s.\n", strings.Join(each, ", "), number(g.DiskBytes/1e6), number(g.LoopbackBytes/1e6))
}

// table writes one row per point of each line, with all lines of the same x together.
func (c *Curve) table(b *strings.Builder) {
	fmt.Fprintf(b, "\n**%s**: %s\n\n| %s | system | a second | p50 ms | p99 ms | processor µs, members | writes a fdatasync | limit a second | which | of it |\n", c.Title, c.Load, c.X)
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	var rows []row
	for order, l := range c.Lines {
		for i := range l.Points {
			rows = append(rows, row{order, l.Name, &l.Points[i]})
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		if a.point.X != b.point.X {
			return sign(a.point.X - b.point.X)
		}
		return a.order - b.order
	})
	for _, r := range rows {
		r.write(b)
	}
	if c.Note != "" {
		fmt.Fprintf(b, "\n%s\n", c.Note)
	}
}

func sign(f float64) int {
	if f < 0 {
		return -1
	}
	return 1
}

type row struct {
	order int
	line  string
	point *Point
}

func (r row) write(b *strings.Builder) {
	p, s := r.point, SpreadOf(r.point.Samples)
	fmt.Fprintf(b, "| %s | %s | %s (%s to %s) | %s | %s | %s | %s |", p.Label, r.line, number(s.Median), number(s.Min), number(s.Max),
		known(p.Millis.P50), known(p.Millis.P99), number(1e6*p.Use.Processor), batch(p.Use))
	if l, ok := limits.Binding(p.Limits); ok {
		fmt.Fprintf(b, " %s | %s | %.0f %% |\n", number(l.Rate), l.Name, 100*s.Median/l.Rate)
	} else {
		b.WriteString(" | | |\n")
	}
}

func batch(u limits.Use) string {
	if u.AtMost {
		return "<= " + number(u.Batch)
	}
	return known(u.Batch)
}

// told lists the quantiles in the latency table.
var told = []float64{0.5, 0.75, 0.9, 0.99, 0.999, 1}

func (s *Study) latencies(b *strings.Builder) {
	if len(s.Latencies) == 0 {
		return
	}
	b.WriteString("\n**Latency of SET, 50 connections**: values of 128 bytes; milliseconds, as each system's load generator tells\n\n| system |")
	for _, q := range told {
		fmt.Fprintf(b, " %s |", percent(q))
	}
	fmt.Fprintf(b, "\n|%s\n", strings.Repeat(" --- |", 1+len(told)))
	for _, d := range s.Latencies {
		fmt.Fprintf(b, "| %s |", d.System)
		for _, q := range told {
			fmt.Fprintf(b, " %s |", known(d.At(q)))
		}
		b.WriteString("\n")
	}
}

func percent(q float64) string {
	if q == 1 {
		return "most"
	}
	return "p" + strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.3f", 100*q), "0"), ".")
}

// At returns the latency of the first quantile at or above q, or 0 if there is none.
func (d *Distribution) At(q float64) float64 {
	for _, p := range d.Quantiles {
		if p.At >= q {
			return p.Millis
		}
	}
	return 0
}

// Document writes the tables between the study's markers in a Markdown file.
func (s *Study) Document(path string) error { return document(path, "curves", s.Markdown()) }
