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

// Cluster controls the project's own cluster through its command-line program.
type Cluster struct {
	program string
	root    string
	state   []string // the flag for a state directory other than the default
	log     io.Writer
}

// stateVariable is the environment variable that names the cluster's state directory, for those who run several clusters.
const stateVariable = "RSTORE_CLUSTER_STATE"

func newCluster(root string, log io.Writer) *Cluster {
	c := &Cluster{program: filepath.Join(root, "bin", "cluster"), root: root, log: log}
	if dir := os.Getenv(stateVariable); dir != "" {
		c.state = []string{"--state", dir}
	}
	return c
}

// run executes the cluster's program and returns its standard output. Standard error goes to the log, and its tail into the error,
// because not every caller shows the log.
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

// command returns a command that is interrupted when ctx ends, and killed two seconds later.
func (c *Cluster) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.program, append(slices.Clone(c.state), args...)...)
	cmd.Dir = c.root
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// Faults. Machines have the names of their nodes.

// KillNode simulates the loss of a machine: all its processes end at once.
func (c *Cluster) KillNode(ctx context.Context, node string) error { return c.void(ctx, "kill", node) }

// StartNode restarts a killed machine with its old disk.
func (c *Cluster) StartNode(ctx context.Context, node string) error {
	return c.void(ctx, "start", node)
}

// EnsureNode starts a machine unless it is running.
func (c *Cluster) EnsureNode(ctx context.Context, node string) error {
	quiet := *c
	quiet.log = io.Discard
	if quiet.void(ctx, "exec", node, "--", "/bin/true") == nil {
		return nil
	}
	return c.StartNode(ctx, node)
}

// CutNode stops all traffic between a machine and all others, or one other.
func (c *Cluster) CutNode(ctx context.Context, node, from string) error {
	return c.void(ctx, "cut", node, "--from", from)
}

// CutOneWay drops what a machine receives ("in") or sends ("out"), from or to all others or one other.
func (c *Cluster) CutOneWay(ctx context.Context, node, from, direction string) error {
	return c.void(ctx, "cut", node, "--from", from, "--direction", direction)
}

// Heal undoes every cut.
func (c *Cluster) Heal(ctx context.Context) error { return c.void(ctx, "heal") }

// KillProcess kills the main process of a pod, like a crash.
func (c *Cluster) KillProcess(ctx context.Context, namespace, pod string) error {
	return c.void(ctx, "kill-process", pod, "--namespace", namespace)
}

// PausePod freezes a pod's processes until ResumePod.
func (c *Cluster) PausePod(ctx context.Context, namespace, pod string) error {
	return c.void(ctx, "pause", pod, "--namespace", namespace)
}

// ResumePod resumes a paused pod.
func (c *Cluster) ResumePod(ctx context.Context, namespace, pod string) error {
	return c.void(ctx, "resume", pod, "--namespace", namespace)
}

// StopAPI freezes the API server and etcd until StartAPI: connections stay open, but nobody answers.
func (c *Cluster) StopAPI(ctx context.Context) error { return c.void(ctx, "api-down") }

// StartAPI resumes the API server and etcd.
func (c *Cluster) StartAPI(ctx context.Context) error { return c.void(ctx, "api-up") }

// OOM makes the kernel kill a pod's main process for lack of memory. Its container must have a memory limit.
func (c *Cluster) OOM(ctx context.Context, namespace, pod string) error {
	return c.void(ctx, "oom", pod, "--namespace", namespace)
}

// SaveEtcd saves a copy of etcd's data, for RestoreEtcd.
func (c *Cluster) SaveEtcd(ctx context.Context, name string) error {
	return c.void(ctx, "etcd-save", name)
}

// RestoreEtcd restores what SaveEtcd saved, and restarts the components that remember newer state.
func (c *Cluster) RestoreEtcd(ctx context.Context, name string) error {
	return c.void(ctx, "etcd-restore", name)
}

// On runs a local program on a machine of the cluster and returns its output.
func (c *Cluster) On(ctx context.Context, machine string, program ...string) (string, error) {
	return c.run(ctx, append([]string{"exec", machine, "--"}, program...)...)
}

// InClient runs a local program on the cluster's client machine and waits for it.
func (c *Cluster) InClient(ctx context.Context, program ...string) error {
	return c.void(ctx, append([]string{"exec", "client", "--"}, program...)...)
}

// Load imports an image archive on every worker.
func (c *Cluster) Load(ctx context.Context, archive string) error {
	return c.void(ctx, "load", archive)
}

// Up starts the cluster. If it is already up, Up changes nothing.
func (c *Cluster) Up(ctx context.Context, workers int) error {
	return c.void(ctx, "up", "--nodes", fmt.Sprint(workers))
}

// Down removes the cluster.
func (c *Cluster) Down(ctx context.Context) error { return c.void(ctx, "down") }

func (c *Cluster) void(ctx context.Context, args ...string) error {
	_, err := c.run(ctx, args...)
	return err
}

// Root finds the repository's root, at or above the working directory.
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
