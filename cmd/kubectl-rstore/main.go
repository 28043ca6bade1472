// Command kubectl-rstore is a kubectl plugin: `kubectl rstore status NAME` shows a store as one picture, and the other
// commands do, and follow, what a person does with a store.
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
