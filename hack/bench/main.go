// Command bench compares the store with Redis and etcd, all as processes on loopback and on one disk, and judges the ratios
// against the goals in docs/performance.md. See --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/peers"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/results"
)

type options struct {
	node, etcd, etcdBenchmark string // paths of programs
	dir                       string
	rounds                    int
	point                     time.Duration // duration of one measurement
	only                      string
	out, doc                  string // JSON file; Markdown file with markers
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "bench", Short: "Measure the store beside Redis and etcd", Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		Long: `bench starts a store of three members (k = 1), one of a single member, a Redis master with two replicas (appendfsync
always on all of them) and three members of etcd, and puts the same load on one after the other, in turn, several times. It
prints each ratio's median and spread, the goal and the verdict, and then what is told in absolute numbers.`,
		RunE: func(c *cobra.Command, _ []string) error { return run(c.Context(), c.OutOrStdout(), o) },
	}
	o.flags(c, 5, 2*time.Second)
	c.Flags().StringVar(&o.doc, "doc", "", "also put the tables into this Markdown file, between its markers")
	c.AddCommand(nullCommand(), tableCommand(), curvesCommand())
	return c
}

// flags adds the flags that all measuring commands share.
func (o *options) flags(c *cobra.Command, rounds int, point time.Duration) {
	f := c.Flags()
	f.StringVar(&o.node, "node", "bin/node", "the node program")
	f.StringVar(&o.etcd, "etcd", "bin/bench-etcd/server", "the etcd program")
	f.StringVar(&o.etcdBenchmark, "etcd-benchmark", "bin/bench-etcd/benchmark", "etcd's benchmark program")
	f.StringVar(&o.dir, "dir", "", "where to put the data, removed afterwards (default the directory for temporary files)")
	f.IntVar(&o.rounds, "rounds", rounds, "how often each measurement is repeated, interleaved with the others")
	f.DurationVar(&o.point, "point", point, "about how long one measurement takes")
	f.StringVar(&o.only, "only", "", "a regular expression: measure only what has a matching name")
	f.StringVar(&o.out, "json", "", "also write everything measured to this file")
}

// inDir calls use with a temporary data directory.
func (o options) inDir(use func(dir string) error) (err error) {
	dir, err := os.MkdirTemp(o.dir, "bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	return use(absolute)
}

// nullCommand runs the server against which the load generator itself is measured.
func nullCommand() *cobra.Command {
	return &cobra.Command{
		Use: "null ADDRESS", Short: "Answer +OK to everything", Args: cobra.ExactArgs(1), Hidden: true,
		RunE: func(_ *cobra.Command, args []string) error { return peers.ServeNull(args[0]) },
	}
}

// tableCommand prints the report of an earlier run.
func tableCommand() *cobra.Command {
	var doc string
	c := &cobra.Command{
		Use: "table FILE", Short: "Print the tables of a JSON file of an earlier run", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := results.Load(args[0])
			if err != nil {
				return err
			}
			return publish(c.OutOrStdout(), r, "", doc)
		},
	}
	c.Flags().StringVar(&doc, "doc", "", "also put the tables into this Markdown file, between its markers")
	return c
}

func run(ctx context.Context, out io.Writer, o options) error {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	on, err := machine(out)
	if err != nil {
		return fmt.Errorf("how busy the machine is: %w", err)
	}
	report := &results.Report{Machine: on, Rounds: o.rounds, PointMillis: o.point.Milliseconds()}
	err = o.inDir(func(dir string) error {
		if err := contests(ctx, out, o, dir, only, report); err != nil {
			return err
		}
		return facts(ctx, out, o, dir, only, report)
	})
	if err != nil && len(report.Contests) > 0 {
		return errors.Join(err, publish(out, report, o.out, "")) // keep what was measured before the error
	}
	if err != nil {
		return err
	}
	return publish(out, report, o.out, o.doc)
}

// publish prints a report and writes it wherever else it was asked for.
func publish(out io.Writer, r *results.Report, file, doc string) error {
	fmt.Fprintf(out, "\n%s", r.Markdown())
	var errs []error
	if file != "" {
		errs = append(errs, r.Save(file))
	}
	if doc != "" {
		errs = append(errs, r.Document(doc))
	}
	return errors.Join(errs...)
}
