// Command cluster runs a real Kubernetes cluster on one Linux machine, without Docker and without virtual machines. The control
// plane and every worker live in their own namespaces, and faults can be injected between them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/lab"
	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/tool"
)

// exitStatus makes the program exit with the status of a command that it ran for the user.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("command ended with status %d", int(e)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := newRoot().ExecuteContext(ctx)
	stop()
	var status exitStatus
	switch {
	case errors.As(err, &status):
		os.Exit(int(status))
	case err != nil:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// app is the state shared by all subcommands.
type app struct{ state string }

func newRoot() *cobra.Command {
	a := &app{}
	root := &cobra.Command{
		Use:   "cluster",
		Short: "A real Kubernetes cluster on this machine, for development, tests and demonstrations",
		Long: `cluster runs the real Kubernetes components on one Linux machine, as root and without Docker.

The control plane ("api"), cluster DNS ("dns"), a place for load generators ("client") and the workers ("n1", "n2", ...)
each run in network, process and mount namespaces of their own. A bridge in a further namespace ("switch") joins them;
nothing leads out of the machine. Killing a worker's first process ends all of it at once, and "down" leaves nothing.`,
		Example: `  cluster up
  export KUBECONFIG=$(cluster kubeconfig)
  cluster load dist/replicatedstore.tar
  cluster exec client redis-cli -h orders-rw -p 6379 PING
  cluster cut n1 --from api     # the rest still reaches n1
  cluster heal
  cluster kill n2 && cluster start n2
  cluster down`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&a.state, "state", "", "directory of the cluster's state (default .run/cluster in the repository)")
	root.AddGroup(
		&cobra.Group{ID: "life", Title: "Life of the cluster:"},
		&cobra.Group{ID: "use", Title: "Use:"},
		&cobra.Group{ID: "fault", Title: "Faults:"},
	)
	addTo(root, "life", a.up(), a.down(), a.status())
	addTo(root, "use", a.kubeconfig(), a.load(), a.exec(), a.toolPath(), a.tools())
	addTo(root, "fault", a.cut(), a.heal(), a.kill(), a.start(), a.pause(), a.resume(), a.killProcess(), a.oom(),
		a.apiDown(), a.apiUp(), a.etcdSave(), a.etcdRestore())
	root.AddCommand(newInner())
	return root
}

func addTo(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		root.AddCommand(c)
	}
}

// lab opens the cluster that --state names.
func (a *app) lab() (*lab.Lab, error) {
	dir := a.state
	if dir == "" {
		root, err := repository()
		if err != nil {
			return nil, fmt.Errorf("%w; run inside it, or name the cluster with --state", err)
		}
		dir = filepath.Join(root, ".run", "cluster")
	}
	return lab.Open(dir, os.Stderr)
}

// toolCache opens the tool cache of the repository around the working directory.
func (a *app) toolCache() (*tool.Cache, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	return tool.Open(root, os.Stderr)
}

// repository finds the root of the repository around the working directory.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "hack", "tools", "kube", "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the repository: it is not around the working directory")
		}
		dir = parent
	}
}
