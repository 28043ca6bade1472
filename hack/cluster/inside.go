package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/fabric"
	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/lab"
	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/machine"
	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/storage"
)

func (a *app) load() *cobra.Command {
	return &cobra.Command{
		Use:   "load IMAGE.tar...",
		Short: "Import image archives on every worker, also those that start later",
		Args:  cobra.MinimumNArgs(1),
		RunE:  a.onLab(func(l *lab.Lab, args []string) error { return l.Load(args...) }),
	}
}

func (a *app) exec() *cobra.Command {
	c := &cobra.Command{
		Use:   "exec MACHINE [--] COMMAND [ARGS...]",
		Short: "Run a command on a machine: its network and processes, this machine's files",
		Long: `exec runs COMMAND with the network, the processes, /run, /var/lib and /var/log of MACHINE (a worker, api, dns,
client or switch); all other files, the working directory and the environment are the caller's. The machine "client"
reaches pod addresses, service addresses and names whatever happens to a worker. The command ends with its machine.`,
		Example: "  cluster exec client redis-cli -h orders-rw PING\n  cluster exec n1 ctr -n k8s.io containers ls",
		Args:    cobra.MinimumNArgs(2),
		RunE: a.onLab(func(l *lab.Lab, args []string) error {
			command := args[1:]
			if command[0] == "--" && len(command) > 1 {
				command = command[1:]
			}
			record, err := l.Machine(args[0])
			if err != nil {
				return err
			}
			status, err := machine.Exec(record, l.Program(), command)
			if err == nil && status != 0 {
				return exitStatus(status)
			}
			return err
		}),
	}
	c.Flags().SetInterspersed(false) // what follows the machine's name belongs to the command
	return c
}

// newInner returns the commands that the machines themselves run.
func newInner() *cobra.Command {
	inner := &cobra.Command{Use: "inner", Hidden: true, Short: "Run by the cluster's machines, not by people"}
	inner.AddCommand(
		&cobra.Command{
			Use: "init DIR", Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error { return machine.Init(args[0]) },
		},
		&cobra.Command{
			Use: "import PATH", Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error { return lab.Import(args[0]) },
		},
		&cobra.Command{
			Use: "tied COMMAND...", Args: cobra.MinimumNArgs(1), DisableFlagParsing: true,
			RunE: func(_ *cobra.Command, args []string) error { return machine.Tied(args) },
		},
		&cobra.Command{
			Use: "hog DIR PID", Args: cobra.ExactArgs(2),
			RunE: func(_ *cobra.Command, args []string) error { return lab.Hog(args[0], args[1]) },
		},
		innerForward(), innerProvision(),
	)
	return inner
}

func innerForward() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use: "forward", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			file := os.NewFile(3, "listener")
			listener, err := net.FileListener(file)
			if err != nil {
				return fmt.Errorf("take over the listener: %w", err)
			}
			file.Close()
			return fabric.Forward(listener, to)
		},
	}
	c.Flags().StringVar(&to, "to", "", "address to forward to")
	return c
}

func innerProvision() *cobra.Command {
	var kubeconfig, machines string
	c := &cobra.Command{
		Use: "provision", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return fmt.Errorf("load kubeconfig: %w", err)
			}
			return storage.Run(cmd.Context(), config, func(node string) string {
				return filepath.Join(machines, node, "volumes")
			})
		},
	}
	c.Flags().StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig of the provisioner")
	c.Flags().StringVar(&machines, "machines", "", "directory with one directory for each worker")
	return c
}
