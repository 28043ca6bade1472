package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/lab"
	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/tool"
)

func (a *app) up() *cobra.Command {
	o := lab.UpOptions{}
	c := &cobra.Command{
		Use:   "up",
		Short: "Start the cluster; the first time, build its programs from source",
		Long: `up starts the cluster and returns when all workers are ready: about ten seconds. The first time on a machine it
installs the Debian packages it needs and builds Kubernetes from source, which takes some ten minutes on two cores;
the programs are kept in the user's cache directory. A cluster that is up stays as it is.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.lab()
			if err != nil {
				return err
			}
			cache, err := a.toolCache()
			if err != nil {
				return err
			}
			if err := l.Up(cmd.Context(), cache, o); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "export KUBECONFIG=%s\n", l.Kubeconfig())
			return nil
		},
	}
	c.Flags().IntVar(&o.Nodes, "nodes", 3, "number of workers")
	c.Flags().IntVar(&o.Nodes, "workers", 3, "the same as --nodes")
	c.MarkFlagsMutuallyExclusive("nodes", "workers")
	c.Flags().IntVar(&o.Port, "api-port", 16443, "port of the API server on 127.0.0.1; a free one if this is in use")
	c.Flags().DurationVar(&o.Wait, "wait", 2*time.Minute, "how long the control plane and the workers may each take")
	return c
}

func (a *app) down() *cobra.Command {
	var verify bool
	c := &cobra.Command{
		Use:   "down",
		Short: "Stop the cluster and remove all of it, also after a crash or an interrupted start",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.lab()
			if err != nil {
				return err
			}
			if !verify {
				return l.Down()
			}
			left, err := l.Verify()
			if err != nil {
				return err
			}
			if len(left) > 0 {
				return fmt.Errorf("still there:\n  %s", strings.Join(left, "\n  "))
			}
			fmt.Fprintln(cmd.OutOrStdout(), "nothing of the cluster is left")
			return nil
		},
	}
	c.Flags().BoolVar(&verify, "verify", false, "stop nothing; list what is left of the cluster and fail if anything is")
	return c
}

func (a *app) status() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show machines, services and cuts", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.lab()
			if err != nil {
				return err
			}
			return l.Status(cmd.Context(), cmd.OutOrStdout())
		},
	}
}

func (a *app) kubeconfig() *cobra.Command {
	return &cobra.Command{
		Use: "kubeconfig", Short: "Print the path of the administrator's kubeconfig", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.lab()
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), l.Kubeconfig())
			return nil
		},
	}
}

func (a *app) toolPath() *cobra.Command {
	var names []string
	for _, m := range tool.Modules() {
		names = append(names, m.Programs...)
	}
	return &cobra.Command{
		Use:   "tool-path PROGRAM",
		Short: "Print where a program of the tool modules is, building it if needed",
		Long:  "tool-path knows " + strings.Join(names, ", ") + ".",
		Args:  cobra.ExactArgs(1), ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			cache, err := a.toolCache()
			if err != nil {
				return err
			}
			path, err := cache.Path(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), path)
			return nil
		},
	}
}

func (a *app) tools() *cobra.Command {
	return &cobra.Command{
		Use: "tools", Short: "Install and build everything the cluster needs, and start nothing", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cache, err := a.toolCache()
			if err != nil {
				return err
			}
			if err := cache.InstallPackages(cmd.Context()); err != nil {
				return err
			}
			programs, err := cache.Programs(cmd.Context(), tool.Modules()...)
			if err != nil {
				return err
			}
			for _, m := range tool.Modules() {
				for _, name := range m.Programs {
					fmt.Fprintln(cmd.OutOrStdout(), programs[name])
				}
			}
			return nil
		},
	}
}
