package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/plots"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/results"
	"github.com/replicatedstore/replicatedstore/hack/local/fleet"
	"github.com/replicatedstore/replicatedstore/hack/soak/pauses/outcome"
)

// drawing says where to show a study.
type drawing struct {
	doc    string // Markdown with markers
	plots  string // directory
	pauses string // JSON file of bench-pauses
}

func (d *drawing) flags(c *cobra.Command) {
	c.Flags().StringVar(&d.doc, "doc", "", "also put the tables into this Markdown file, between its markers")
	c.Flags().StringVar(&d.plots, "plots", "", "also write plots into this directory")
	c.Flags().StringVar(&d.pauses, "pauses", "", "a JSON file of bench-pauses, to plot too")
}

func curvesCommand() *cobra.Command {
	var o options
	var d drawing
	c := &cobra.Command{
		Use: "curves", Short: "Measure rates over ranges, beside the limits of the machine", Args: cobra.NoArgs,
		Long: `curves measures how many SETs a second the store takes by the number of connections, the size of values and of the data set,
the number of members and k; and beside each point what the machine allows: by its disk, its processors and its network, as
measured in the same run. Latencies of SET are told in full, beside Redis and etcd.`,
		RunE: func(c *cobra.Command, _ []string) error { return runCurves(c.Context(), c.OutOrStdout(), o, d) },
	}
	o.flags(c, 3, 600*time.Millisecond)
	d.flags(c)
	c.AddCommand(curvesTableCommand())
	return c
}

// curvesTableCommand shows the results of an earlier run.
func curvesTableCommand() *cobra.Command {
	var d drawing
	c := &cobra.Command{
		Use: "table FILE", Short: "Print the tables of a JSON file of an earlier run, and draw its plots", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := results.LoadStudy(args[0])
			if err != nil {
				return err
			}
			return d.show(c.OutOrStdout(), s)
		},
	}
	d.flags(c)
	return c
}

// show prints a study and writes it wherever else it was asked for.
func (d drawing) show(out io.Writer, s *results.Study) error {
	fmt.Fprintf(out, "\n%s", s.Markdown())
	var errs []error
	if d.doc != "" {
		errs = append(errs, s.Document(d.doc))
	}
	if d.plots == "" {
		return errors.Join(errs...)
	}
	pauses := new(outcome.Report)
	if d.pauses != "" {
		var err error
		if pauses, err = outcome.Load(d.pauses); err != nil {
			return errors.Join(append(errs, err)...)
		}
	}
	return errors.Join(append(errs, plots.Write(d.plots, s, pauses))...)
}

func runCurves(ctx context.Context, out io.Writer, o options, d drawing) (err error) {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	on, err := machine(out)
	if err != nil {
		return fmt.Errorf("how busy the machine is: %w", err)
	}
	study := &results.Study{Machine: on, Rounds: o.rounds, PointMillis: o.point.Milliseconds()}
	if err := o.inDir(func(dir string) error { return curves(ctx, out, o, dir, only, study) }); err != nil {
		return err
	}
	if o.out != "" {
		err = study.Save(o.out)
	}
	return errors.Join(err, d.show(out, study))
}

// curves measures every curve whose name matches only.
func curves(ctx context.Context, out io.Writer, o options, dir string, only *regexp.Regexp, study *results.Study) (err error) {
	s := &site{o: o, dir: dir}
	if err := s.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	for _, f := range []*fleet.Fleet{s.store, s.single} {
		if err := s.season(ctx, f); err != nil {
			return err
		}
	}
	if study.Gauge, err = s.gauge(ctx); err != nil {
		return err
	}
	if only.MatchString("latency") {
		if study.Latencies, err = s.latencies(ctx, out); err != nil {
			return err
		}
	}
	for _, c := range curvePlan() {
		if !only.MatchString(c.Name) {
			continue
		}
		if c.Lines, err = c.measure(ctx, s, out, study.Gauge); err != nil {
			return err
		}
		study.Curves = append(study.Curves, c.Curve)
	}
	return nil
}
