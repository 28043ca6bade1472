// Command local runs a whole store on this machine without Kubernetes: the members are processes on loopback, and this program
// plays the operator. See --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/replicatedstore/replicatedstore/hack/local/fleet"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "local:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	var opt fleet.Options
	var noRepair bool
	c := &cobra.Command{
		Use:   "local",
		Short: "Run a store of several members on loopback",
		Long: `local starts the members of one store as processes on loopback ports, appoints a leader and admits the followers as
voters, exactly as the operator does it in Kubernetes. Then it watches: a leader that dies is replaced, a member that dies
is started again (kill -9 one of the printed process numbers and see).

Ctrl-C stops everything. If this program is killed, the kernel kills the members with it: nothing stays behind.`,
		Example: `  make local N=3 K=1
  go run ./hack/local                                  # three members, one synchronous follower, throw-away data
  go run ./hack/local --members 5 --sync 2 --data /var/tmp/rstore
  redis-cli -p 7001 SET greeting hello                 # ports are printed`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			return run(c.Context(), c.OutOrStdout(), opt, !noRepair)
		},
	}
	f := c.Flags()
	f.IntVarP(&opt.Members, "members", "n", 3, "members of the store, the leader included (1 to 9)")
	f.IntVarP(&opt.Sync, "sync", "k", 1, "followers that must hold a write before it is acknowledged; 0: asynchronous")
	f.StringVar(&opt.Dir, "data", "", "directory for the members' data and logs, kept (default a temporary one, removed)")
	f.IntVar(&opt.Port, "port", 7001, "first client port; peer ports at +100, control ports at +200; 0: free ones")
	f.StringVar(&opt.Store, "store", "local", "name of the store")
	f.StringVar(&opt.Binary, "node", "bin/node", "the node program")
	f.StringArrayVar(&opt.Flags, "flag", nil, "a further flag for every node, e.g. --flag=--memory=1073741824")
	f.BoolVar(&noRepair, "no-repair", false, "neither replace a dead leader nor start dead members again")
	return c
}

// startTimeout limits the time from nothing to a writable store with all its voters.
const startTimeout = time.Minute

func run(ctx context.Context, out io.Writer, opt fleet.Options, repair bool) error {
	begun := time.Now()
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	f, err := fleet.Start(starting, opt)
	if err != nil {
		if ctx.Err() != nil {
			return nil // interrupted
		}
		return err
	}
	defer func() {
		fmt.Fprintln(out, "\nstopping")
		if err := f.Stop(); err != nil {
			fmt.Fprintln(out, "stop:", err)
		}
	}()
	fmt.Fprintf(out, "ready after %v\n\n", time.Since(begun).Round(10*time.Millisecond))
	printMembers(out, f)
	err = watch(ctx, out, f, repair)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func printMembers(out io.Writer, f *fleet.Fleet) {
	fmt.Fprintf(out, "  %-12s %-8s %-18s %-18s %s\n", "MEMBER", "PID", "CLIENT", "CONTROL", "LOG")
	for i, m := range f.Members() {
		fmt.Fprintf(out, "  %-12s %-8d %-18s %-18s %s\n", m.Name, f.Pid(i), m.Client, m.Control, m.Log)
	}
	leader := f.Members()[f.Leader()]
	host, port := split(leader.Client)
	fmt.Fprintf(out, `
Write to the leader:   redis-cli -h %s -p %s SET greeting hello
Ask any member:        redis-cli -h %s -p %s ROLE
Its own view:          curl -s http://%s/v1/status
Break something:       kill -9 %d
Stop:                  Ctrl-C

`, host, port, host, port, leader.Control, f.Pid(f.Leader()))
}
