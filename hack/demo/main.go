// Command demo shows the product on a real Kubernetes cluster. It installs the operator, creates a store, writes to it while
// things are broken, and proves at the end that no acknowledged write was lost. See --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/redis/go-redis/v9/logging"
	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/replicatedstore/replicatedstore/test/ledger"
)

func main() {
	log.SetLogger(logr.Discard()) // controller-runtime wants a logger; the demo prints its own story
	logging.Disable()             // failed dials during an outage are expected, and counted
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := newCommand().ExecuteContext(ctx)
	if err == nil {
		return
	}
	if !errors.Is(err, errTold) {
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	os.Exit(1)
}

// errTold makes the program fail after the failure has been printed.
var errTold = errors.New("the demo failed")

func newCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show the product on a real Kubernetes cluster and prove that nothing is lost",
		Long: `demo starts the project's own Kubernetes cluster (or uses the one that KUBECONFIG names), installs the operator with its
Helm chart, makes the store of config/samples/orders.yaml and writes to it without pause, while it adds a member, moves
leadership, kills the leader's pod and kills the leader's whole machine. At the end it compares every write that was
acknowledged with what every member holds. It fails when one is missing, and when a step takes too long.

On another cluster the image must be one that the cluster can pull (--image), and machines are not broken.`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(c *cobra.Command, _ []string) error { return run(c.Context(), c.OutOrStdout(), o) },
	}
	f := c.Flags()
	f.BoolVar(&o.down, "down", false, "remove the cluster at the end")
	f.StringVar(&o.image, "image", "", "image for a cluster that is not the project's own")
	f.IntVar(&o.rate, "rate", 400, "writes per second")
	f.IntVar(&o.connections, "connections", 8, "connections that write")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show what the tools say")
	c.AddCommand(&cobra.Command{
		Use: "writer", Hidden: true, Args: cobra.NoArgs, Short: "Write on orders from standard input",
		RunE: func(c *cobra.Command, _ []string) error {
			return ledger.Serve(c.Context(), c.InOrStdin(), c.OutOrStdout(), nil)
		},
	})
	return c
}
