package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/fabric"
	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/lab"
)

// onLab turns an action on the cluster into a command's action.
func (a *app) onLab(fn func(l *lab.Lab, args []string) error) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		l, err := a.lab()
		if err != nil {
			return err
		}
		return fn(l, args)
	}
}

func (a *app) cut() *cobra.Command {
	var from, direction string
	c := &cobra.Command{
		Use:   "cut NODE",
		Short: "Stop the traffic between a machine and the others; both stay up",
		Long: `cut drops every frame between NODE and the machine that --from names, established connections included. With
--direction one direction stays: "in" drops what NODE would receive, "out" what it sends. Cuts add up until "heal".`,
		Example: "  cluster cut n1\n  cluster cut n1 --from api\n  cluster cut n1 --from n2 --direction out",
		Args:    cobra.ExactArgs(1),
		RunE: a.onLab(func(l *lab.Lab, args []string) error {
			return l.Cut(args[0], from, fabric.Direction(direction))
		}),
	}
	c.Flags().StringVar(&from, "from", fabric.All, "all, or one machine: api, dns, client, n1, ...")
	c.Flags().StringVar(&direction, "direction", string(fabric.Both), "both, in or out, as seen from NODE")
	return c
}

func (a *app) heal() *cobra.Command {
	var from string
	c := &cobra.Command{
		Use:   "heal [NODE]",
		Short: "Undo the cuts of a machine, or all cuts",
		Args:  cobra.MaximumNArgs(1),
		RunE: a.onLab(func(l *lab.Lab, args []string) error {
			if len(args) == 0 {
				if from != "" {
					return fmt.Errorf("heal with --from needs a machine")
				}
				return l.Heal("", "")
			}
			return l.Heal(args[0], from)
		}),
	}
	c.Flags().StringVar(&from, "from", "", `only the cut between NODE and this machine, or "all" for the cut from all`)
	return c
}

func (a *app) kill() *cobra.Command {
	return &cobra.Command{
		Use: "kill NODE", Short: "Lose a worker: all its processes end at once, without goodbye", Args: cobra.ExactArgs(1),
		RunE: a.onLab(func(l *lab.Lab, args []string) error { return l.Kill(args[0]) }),
	}
}

func (a *app) start() *cobra.Command {
	return &cobra.Command{
		Use: "start NODE", Short: "Turn a killed worker on again, with the disk it had", Args: cobra.ExactArgs(1),
		RunE: a.onLab(func(l *lab.Lab, args []string) error { return l.Start(args[0]) }),
	}
}

// podFlags adds the flags that select the pod.
func podFlags(c *cobra.Command, ref *lab.PodRef) {
	c.Flags().StringVarP(&ref.Namespace, "namespace", "n", "default", "namespace of the pod")
	c.Flags().StringVarP(&ref.Container, "container", "c", "", "one container (default all)")
}

func (a *app) podSignal(use, short string, signal unix.Signal) *cobra.Command {
	var ref lab.PodRef
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: a.onLab(func(l *lab.Lab, args []string) error {
			ref.Name = args[0]
			return l.SignalPod(ref, signal)
		}),
	}
	podFlags(c, &ref)
	return c
}

func (a *app) pause() *cobra.Command {
	return a.podSignal("pause POD", "Freeze every process of a pod's containers", unix.SIGSTOP)
}

func (a *app) resume() *cobra.Command {
	return a.podSignal("resume POD", "Let a paused pod go on", unix.SIGCONT)
}

func (a *app) killProcess() *cobra.Command {
	var ref lab.PodRef
	var name string
	c := &cobra.Command{
		Use: "kill-process POD", Short: "Signal the main process of a pod's containers", Args: cobra.ExactArgs(1),
		RunE: a.onLab(func(l *lab.Lab, args []string) error {
			signal, err := parseSignal(name)
			if err != nil {
				return err
			}
			ref.Name = args[0]
			return l.KillProcess(ref, signal)
		}),
	}
	podFlags(c, &ref)
	c.Flags().StringVar(&name, "signal", "KILL", "name or number of the signal")
	return c
}

// parseSignal accepts KILL, SIGKILL and 9.
func parseSignal(name string) (unix.Signal, error) {
	if n, err := strconv.Atoi(name); err == nil && n > 0 && n < 65 {
		return unix.Signal(n), nil
	}
	upper := strings.ToUpper(name)
	if !strings.HasPrefix(upper, "SIG") {
		upper = "SIG" + upper
	}
	if s := unix.SignalNum(upper); s != 0 {
		return s, nil
	}
	return 0, fmt.Errorf("parse signal %q: no such signal", name)
}

func (a *app) apiDown() *cobra.Command {
	return &cobra.Command{
		Use: "api-down", Short: "Stop the API server and etcd: connections stay open, nobody answers", Args: cobra.NoArgs,
		RunE: a.onLab(func(l *lab.Lab, _ []string) error { return l.APIDown() }),
	}
}

func (a *app) apiUp() *cobra.Command {
	return &cobra.Command{
		Use: "api-up", Short: "Let the API server and etcd go on", Args: cobra.NoArgs,
		RunE: a.onLab(func(l *lab.Lab, _ []string) error { return l.APIUp() }),
	}
}

func (a *app) oom() *cobra.Command {
	var ref lab.PodRef
	c := &cobra.Command{
		Use: "oom POD", Short: "Let the kernel kill a pod's main processes for want of memory", Args: cobra.ExactArgs(1),
		Long: `oom fills what the memory limit of the pod's containers leaves, and marks their main processes as those to be killed.
A container without a limit is refused.`,
		RunE: a.onLab(func(l *lab.Lab, args []string) error {
			ref.Name = args[0]
			return l.OOM(ref)
		}),
	}
	podFlags(c, &ref)
	return c
}

func (a *app) etcdSave() *cobra.Command {
	return &cobra.Command{
		Use: "etcd-save NAME", Short: "Keep a copy of what etcd holds", Args: cobra.ExactArgs(1),
		RunE: a.onLab(func(l *lab.Lab, args []string) error { return l.SaveEtcd(args[0]) }),
	}
}

func (a *app) etcdRestore() *cobra.Command {
	return &cobra.Command{
		Use: "etcd-restore NAME", Short: "Put a kept copy in the place of what etcd holds", Args: cobra.ExactArgs(1),
		Long: `etcd-restore puts the copy that "etcd-save NAME" kept in the place of what etcd holds, and restarts the control plane,
kubelets and proxies. Pods go on; those that are younger than the copy are removed by their kubelets.`,
		RunE: a.onLab(func(l *lab.Lab, args []string) error { return l.RestoreEtcd(args[0]) }),
	}
}
