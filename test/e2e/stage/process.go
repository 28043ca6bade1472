package stage

import (
	"context"
	"io"
	"os/exec"
	"slices"
	"sync"
	"time"
)

// Process is a program of this machine that runs in the cluster's client machine and is spoken to through its pipes.
type Process struct {
	In  io.WriteCloser // its standard input
	Out io.Reader      // its standard output

	said  *tailWriter
	close func()
}

// StartInClient starts a program that ends with its standard input. The end of ctx does not end it; Close does, and so does
// the end of this process.
func (c *Cluster) StartInClient(ctx context.Context, program ...string) (*Process, error) {
	return c.StartOn(ctx, "client", program...)
}

// StartOn is StartInClient on any machine of the cluster.
func (c *Cluster) StartOn(ctx context.Context, machine string, program ...string) (*Process, error) {
	p := &Process{said: &tailWriter{}}
	cmd := c.command(context.WithoutCancel(ctx), slices.Concat([]string{"exec", machine, "--"}, program)...)
	cmd.Stderr = p.said
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if p.Out, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.In, p.close = in, sync.OnceFunc(func() { endProcess(cmd, in) })
	return p, nil
}

// endProcess ends a program that ends with its input, by force if it does not.
func endProcess(cmd *exec.Cmd, input io.Closer) {
	input.Close()
	force := time.AfterFunc(5*time.Second, func() { cmd.Process.Kill() })
	defer force.Stop()
	_ = cmd.Wait() // how it ended is told by its last answer, or the absence of one
}

// Close ends the program and waits for its end.
func (p *Process) Close() { p.close() }

// Said is the end of what it wrote to standard error; all of it only after Close.
func (p *Process) Said() string { return p.said.String() }
