// Command kubectl-rstore is a kubectl plugin to look after ReplicatedStores: `kubectl rstore status NAME` shows a store at a glance,
// and the other commands request what a person does with a store, such as a failover, and follow it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/replicatedstore/replicatedstore/cmd/kubectl-rstore/internal/plugin"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := plugin.NewCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(plugin.ExitCode(err))
	}
}
