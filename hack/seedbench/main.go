// Command seedbench measures the cost of a seed: its rate compared with a plain copy of the same files on the same disk, and its
// effect on the leader's writes. The store's members are processes on loopback, as under `make local`.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/replicatedstore/replicatedstore/hack/local/fleet"
	"github.com/replicatedstore/replicatedstore/hack/quantile"
)

type options struct {
	node, dir      string
	size, seedRate int64 // bytes; bytes per second, 0: no limit
	quiet          time.Duration
	load           loadOptions
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "seedbench:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	var o options
	var size, seedRate string
	c := &cobra.Command{
		Use: "seedbench", Short: "Measure a seed under write load", Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.size, err = bytesOf("--size", size); err == nil {
				o.seedRate, err = bytesOf("--seed-rate", seedRate)
			}
			if err != nil {
				return err
			}
			return run(c.Context(), c.OutOrStdout(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.node, "node", "bin/node", "the node program")
	f.StringVar(&o.dir, "dir", "", "where to put the data, removed afterwards (default the directory for temporary files); needs four times the size")
	f.StringVar(&size, "size", "2Gi", "data in the store")
	f.StringVar(&seedRate, "seed-rate", "0", "bytes a second that a member sends at most to seed others; 0: no bound")
	f.DurationVar(&o.quiet, "quiet", 30*time.Second, "how long the leader's writes are measured without a seed")
	f.IntVar(&o.load.rate, "rate", 200, "writes a second while measuring")
	f.IntVar(&o.load.conns, "connections", 16, "over that many connections")
	f.IntVar(&o.load.value, "value", 1024, "of that many bytes")
	return c
}

func bytesOf(flag, text string) (int64, error) {
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", flag, err)
	}
	return q.Value(), nil
}

// row is one phase of the measurement.
type row struct {
	name  string
	bytes int64 // bytes moved; 0: none
	took  time.Duration
	lat   quantile.Durations
}

func (r row) rate() float64 { return float64(r.bytes) / 1e6 / r.took.Seconds() }

func run(ctx context.Context, out io.Writer, o options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "seedbench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	store := filepath.Join(dir, "store")
	if err := os.Mkdir(store, 0o755); err != nil {
		return err
	}
	fmt.Fprintf(out, "starting three members below %s\n", dir)
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	f, err := fleet.Start(starting, fleet.Options{
		Binary: o.node, Members: 3, Sync: 1, Dir: store, WriteTimeout: time.Minute,
		Flags: []string{"--log-retain-bytes=67108864", fmt.Sprintf("--seed-rate-bytes=%d", o.seedRate)},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Stop()) }()
	b := &bench{out: out, o: o, f: f, dir: dir, target: (f.Leader() + 1) % 3}
	rows, err := b.measure(ctx)
	if err != nil {
		return err
	}
	report(out, o, b.from, rows)
	return nil
}

func report(out io.Writer, o options, from string, rows []row) {
	bound := "no bound on its rate"
	if o.seedRate > 0 {
		bound = fmt.Sprintf("bounded to %.0f MB/s", float64(o.seedRate)/1e6)
	}
	fmt.Fprintf(out, "\nSeed sent by %s, %s; %d writes of %d bytes a second to the leader, each on disk on one follower before its answer,\n"+
		"timed from when each was due. The copy reads the source's checkpoint (the files of the seed), writes and fsyncs each file in a\n"+
		"fresh directory, under the same load; the source's pages were dropped from the page cache before seed and copy alike.\n\n",
		from, bound, o.load.rate, o.load.value)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "phase\tMB\tseconds\tMB/s\twrites\tp50 ms\tp99 ms\tmax ms\tp99 / alone\t")
	quiet := rows[0].lat.At(0.99)
	for _, r := range rows {
		moved := "-\t-"
		if r.bytes > 0 {
			moved = fmt.Sprintf("%.0f\t%.1f\t%.1f", float64(r.bytes)/1e6, r.took.Seconds(), r.rate())
		} else {
			moved = fmt.Sprintf("-\t%.1f\t-", r.took.Seconds())
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t\n", r.name, moved, len(r.lat), ms(r.lat.At(0.5)), ms(r.lat.At(0.99)),
			ms(r.lat.At(1)), ms(r.lat.At(0.99))/ms(quiet))
	}
	_ = w.Flush() // a failure to print cannot be helped
	fmt.Fprintf(out, "\nseed / copy: %.2f\n", rows[1].rate()/rows[2].rate())
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// progress prints at most one line every two seconds, and the last one.
type progress struct {
	out   io.Writer
	what  string
	begun time.Time
	said  time.Time
}

func (b *bench) progress(what string) *progress {
	now := time.Now()
	return &progress{out: b.out, what: what, begun: now, said: now}
}

func (p *progress) tell(done, total int64) {
	now := time.Now()
	if now.Sub(p.said) < 2*time.Second && done < total || done == 0 {
		return
	}
	p.said = now
	took := now.Sub(p.begun)
	left := time.Duration(float64(took) / float64(done) * float64(total-done)).Round(time.Second)
	fmt.Fprintf(p.out, "  %s%s %6.0f of %.0f MB, %5.0f MB/s, %v left\n", p.what, strings.Repeat(" ", max(0, 5-len(p.what))),
		float64(done)/1e6, float64(total)/1e6, float64(done)/1e6/took.Seconds(), left)
}
