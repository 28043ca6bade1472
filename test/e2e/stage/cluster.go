package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Cluster commands the project's own cluster through its program.
type Cluster struct {
	program string
	root    string
	state   []string // the flag that names another directory than the program's own
	log     io.Writer
}

// stateVariable names the environment variable with the own cluster's directory, for those who run several.
const stateVariable = "RSTORE_CLUSTER_STATE"

func newCluster(root string, log io.Writer) *Cluster {
	c := &Cluster{program: filepath.Join(root, "bin", "cluster"), root: root, log: log}
	if dir := os.Getenv(stateVariable); dir != "" {
		c.state = []string{"--state", dir}
	}
	return c
}

// run executes the cluster's program and returns its standard output. What it says on standard error goes to the log, and its end into the
// error: not everybody shows the log.
func (c *Cluster) run(ctx context.Context, args ...string) (string, error) {
	cmd := c.command(ctx, args...)
	var out bytes.Buffer
	said := &tailWriter{}
	cmd.Stdout, cmd.Stderr = &out, io.MultiWriter(c.log, said)
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("cluster %s: %w\n%s", strings.Join(args, " "), err, said)
	}
	return strings.TrimSpace(out.String()), nil
}

// command ends politely when ctx does, and by force two seconds later.
func (c *Cluster) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.program, append(slices.Clone(c.state), args...)...)
	cmd.Dir = c.root
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// The faults. Machines are named as nodes are.

// KillNode loses a machine: all its processes end at once.
func (c *Cluster) KillNode(ctx context.Context, node string) error { return c.void(ctx, "kill", node) }

// StartNode turns a killed machine on again, with the disk it had.
func (c *Cluster) StartNode(ctx context.Context, node string) error {
	return c.void(ctx, "start", node)
}

// EnsureNode turns a machine on unless it runs.
func (c *Cluster) EnsureNode(ctx context.Context, node string) error {
	quiet := *c
	quiet.log = io.Discard
	if quiet.void(ctx, "exec", node, "--", "/bin/true") == nil {
		return nil
	}
	return c.StartNode(ctx, node)
}

// CutNode stops all traffic between a machine and the others, or one other.
func (c *Cluster) CutNode(ctx context.Context, node, from string) error {
	return c.void(ctx, "cut", node, "--from", from)
}

// CutOneWay drops what a machine would receive ("in") or what it sends ("out"), from or to all others or one.
func (c *Cluster) CutOneWay(ctx context.Context, node, from, direction string) error {
	return c.void(ctx, "cut", node, "--from", from, "--direction", direction)
}

// Heal undoes every cut.
func (c *Cluster) Heal(ctx context.Context) error { return c.void(ctx, "heal") }

// KillProcess ends the main process of a pod, as a crash does.
func (c *Cluster) KillProcess(ctx context.Context, namespace, pod string) error {
	return c.void(ctx, "kill-process", pod, "--namespace", namespace)
}

// PausePod freezes a pod's processes, and ResumePod lets them go on.
func (c *Cluster) PausePod(ctx context.Context, namespace, pod string) error {
	return c.void(ctx, "pause", pod, "--namespace", namespace)
}

// ResumePod lets a paused pod go on.
func (c *Cluster) ResumePod(ctx context.Context, namespace, pod string) error {
	return c.void(ctx, "resume", pod, "--namespace", namespace)
}

// StopAPI freezes the API server and etcd: connections stay open and nobody answers. StartAPI lets them go on.
func (c *Cluster) StopAPI(ctx context.Context) error { return c.void(ctx, "api-down") }

// StartAPI lets the API server and etcd go on.
func (c *Cluster) StartAPI(ctx context.Context) error { return c.void(ctx, "api-up") }

// OOM lets the kernel kill a pod's main process for want of memory. Its container must have a memory limit.
func (c *Cluster) OOM(ctx context.Context, namespace, pod string) error {
	return c.void(ctx, "oom", pod, "--namespace", namespace)
}

// SaveEtcd keeps a copy of what etcd holds, and RestoreEtcd puts it back and restarts what remembers newer things.
func (c *Cluster) SaveEtcd(ctx context.Context, name string) error {
	return c.void(ctx, "etcd-save", name)
}

// RestoreEtcd puts back what SaveEtcd kept.
func (c *Cluster) RestoreEtcd(ctx context.Context, name string) error {
	return c.void(ctx, "etcd-restore", name)
}

// On runs a program of this machine on one of the cluster's, and returns what it says.
func (c *Cluster) On(ctx context.Context, machine string, program ...string) (string, error) {
	return c.run(ctx, append([]string{"exec", machine, "--"}, program...)...)
}

// InClient runs a program of this machine on the cluster's client machine, and waits for it.
func (c *Cluster) InClient(ctx context.Context, program ...string) error {
	return c.void(ctx, append([]string{"exec", "client", "--"}, program...)...)
}

// Load imports an image archive on every worker.
func (c *Cluster) Load(ctx context.Context, archive string) error {
	return c.void(ctx, "load", archive)
}

// Up starts the cluster, or leaves one that is up as it is.
func (c *Cluster) Up(ctx context.Context, workers int) error {
	return c.void(ctx, "up", "--nodes", fmt.Sprint(workers))
}

// Down removes the cluster.
func (c *Cluster) Down(ctx context.Context) error { return c.void(ctx, "down") }

func (c *Cluster) void(ctx context.Context, args ...string) error {
	_, err := c.run(ctx, args...)
	return err
}

// Root finds the repository's root above the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "hack", "cluster", "main.go")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the repository: it is not around the working directory")
		}
		dir = parent
	}
}
