// Command opbench measures the operator with many stores: what it costs while nothing happens, and how long a store is without a
// leader when many others fail at the same time.
//
// The API server is real, and the operator is the real program. Members are simulated: each has its own control port, served by
// the node's own server, with the real replication.Replica behind it, on an in-memory log. So the work of the operator and of the
// API server is real, while the members use no disk and hardly any time. Everything runs in a network namespace with nothing but
// loopback: Kubernetes does not accept Service endpoints in 127.0.0.0/8, so members have other addresses there.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

type options struct {
	operator string
	root     string
	dir      string
	flags    []string // of the operator
	stores   int
	fail     int
	alone    int
	idle     time.Duration
	settle   time.Duration
	lease    int32
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "opbench:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "opbench", Short: "Measure the operator with many stores", Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.stores < 1 || o.fail < 0 || o.idle <= 0 {
				return errors.New("--stores and --idle must be above 0, and --fail must not be negative")
			}
			if apart() {
				return run(c.Context(), c.OutOrStdout(), o)
			}
			return setApart(c.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&o.operator, "operator", "bin/operator", "the operator program")
	f.StringSliceVar(&o.flags, "operator-flag", nil, "a flag for it; may be given several times")
	f.StringVar(&o.root, "root", ".", "the project's directory, for its manifests")
	f.StringVar(&o.dir, "dir", "dist/bench-operator", "where logs go")
	f.IntVar(&o.stores, "stores", 200, "measure with 1, 100 and this many stores of three members")
	f.IntVar(&o.fail, "fail", 50, "how many stores lose their leader at once, beside the one that is watched")
	f.IntVar(&o.alone, "alone", 5, "how many stores lose their leader alone before, to compare with")
	f.DurationVar(&o.idle, "idle", time.Minute, "how long idle stores are measured")
	f.DurationVar(&o.settle, "settle", 15*time.Second, "how long stores are left alone before that")
	f.Int32Var(&o.lease, "lease-seconds", 0, "failover.leaseDurationSeconds of the stores; 0: the default")
	return c
}

// sizes returns the numbers of stores to measure with.
func (o options) sizes() []int {
	sizes := []int{1, 100, o.stores}
	slices.Sort(sizes)
	sizes = slices.Compact(sizes)
	return slices.DeleteFunc(sizes, func(n int) bool { return n > o.stores })
}

func run(ctx context.Context, out io.Writer, o options) (err error) {
	b, err := begin(ctx, out, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.end()) }()
	var idles []idle
	for _, n := range o.sizes() {
		if err := b.grow(ctx, n); err != nil {
			return err
		}
		i, err := b.measureIdle(ctx, n)
		if err != nil {
			return err
		}
		idles = append(idles, i)
	}
	tellIdle(out, idles)
	for _, way := range []fault{killed, frozen} {
		together, err := b.fail(ctx, way)
		if err != nil {
			return err
		}
		tellFailovers(out, way, together)
	}
	return b.broken()
}
