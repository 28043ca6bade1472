// Command soak injects random faults into a real cluster for as long as it is told to, under concurrent clients, and then judges
// what they saw: the history must be linearizable, no acknowledged write may be lost, and every failover must be reported. See
// --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/redis/go-redis/v9/logging"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/replicatedstore/replicatedstore/hack/soak/internal/history"
	"github.com/replicatedstore/replicatedstore/hack/soak/internal/load"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

func main() {
	log.SetLogger(logr.Discard()) // controller-runtime wants a logger; the soak prints its own report
	klog.SetLogger(logr.Discard())
	logging.Disable() // failed dials during an outage are expected, and counted
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program immediately
	err := newCommand().ExecuteContext(ctx)
	if err == nil {
		return
	}
	if !errors.Is(err, errTold) {
		fmt.Fprintln(os.Stderr, "soak:", err)
	}
	os.Exit(1)
}

// errTold makes the program fail after the failure has been printed.
var errTold = errors.New("the soak failed")

func newCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "soak",
		Short: "Break a real cluster at random under load, and judge what the clients saw",
		Long: `soak starts the project's own Kubernetes cluster, installs the operator (two replicas) with its Helm chart, and makes two
stores of three members, k=1. Clients in the cluster's network use both without pause:

  registers   reads are Linearizable. Clients contend for a few registers through the Service of the leader; others ask
              each single member. Every operation goes to a history, which must be linearizable.
  ledger      reads are Session. Every acknowledged write is journalled and at the end compared with every member. Readers
              of followers must see a prefix of the writes that never goes back on their connection.

Meanwhile faults are drawn from a seed, one after the other: process kill, node kill, cut, one-way cut, leader pause, API
server down, operator kill. Each is mended after a while, and the stores must become whole again within a bound. Every
change of leader in a store's authority record must have its report in the store's status.

Ctrl-C mends everything and judges what there is. All evidence is left in a folder.`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("seed") {
				o.seed = rand.Uint64N(1_000_000)
			}
			return run(c.Context(), c.OutOrStdout(), o)
		},
	}
	f := c.Flags()
	f.IntVar(&o.minutes, "minutes", 30, "how long to break things")
	f.Uint64Var(&o.seed, "seed", 0, "of the faults and of what clients do (default a random one)")
	f.StringVar(&o.out, "out", "", "folder for the evidence, which must not exist (default dist/soak/<date>-<seed>)")
	f.DurationVar(&o.within, "whole", 4*time.Minute, "bound of becoming whole again after a fault is mended")
	f.BoolVar(&o.down, "down", false, "remove the cluster at the end")
	c.AddCommand(loadCommand(), ledgerCommand(), checkCommand())
	return c
}

// The command that runs on the cluster's client machine. It ends when its standard input does, not with the terminal's Ctrl-C.

func loadCommand() *cobra.Command {
	return &cobra.Command{
		Use: "load", Hidden: true, Args: cobra.NoArgs, Short: "Be the clients of registers, on orders from standard input",
		RunE: func(c *cobra.Command, _ []string) error {
			signal.Ignore(os.Interrupt, syscall.SIGTERM)
			return load.Serve(context.WithoutCancel(c.Context()), c.InOrStdin(), c.OutOrStdout())
		},
	}
}

func ledgerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ledger", Hidden: true, Args: cobra.NoArgs, Short: "Keep a ledger, on orders from standard input",
		RunE: func(c *cobra.Command, _ []string) error {
			signal.Ignore(os.Interrupt, syscall.SIGTERM)
			return ledger.Serve(context.WithoutCancel(c.Context()), c.InOrStdin(), c.OutOrStdout(), nil)
		},
	}
}

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check FOLDER", Args: cobra.ExactArgs(1), Short: "Judge the history in a folder of evidence once more",
		RunE: func(c *cobra.Command, args []string) error {
			v, views, err := judgeHistory(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), v)
			for _, breach := range views.breaches {
				fmt.Fprintln(c.OutOrStdout(), breach)
			}
			if !v.OK() || len(views.breaches) > 0 {
				return errTold
			}
			return nil
		},
	}
}

// views is the result of the reads of followers.
type views struct {
	count    int
	breaches []string
}

// keyBound is how long the check of one register may take.
const keyBound = 2 * time.Minute

// judgeHistory reads the history in a directory and judges it.
func judgeHistory(dir string) (history.Verdict, views, error) {
	h, err := history.Load(historyPath(dir))
	if err != nil {
		return history.Verdict{}, views{}, err
	}
	v, err := history.Check(h.Ops, keyBound, runtime.NumCPU(), violationsPath(dir))
	return v, views{len(h.Views), history.CheckViews(h.Views)}, err
}
