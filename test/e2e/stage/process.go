package stage

import (
	"context"
	"io"
	"os/exec"
	"slices"
	"sync"
	"time"
)

// Process is a local program that runs on a machine of the cluster, with pipes to its standard input and output.
type Process struct {
	In  io.WriteCloser // its standard input
	Out io.Reader      // its standard output

	said  *tailWriter
	close func()
}

// StartInClient starts a program on the client machine. The program must end when its standard input does. It outlives ctx, but
// not Close, nor this process.
func (c *Cluster) StartInClient(ctx context.Context, program ...string) (*Process, error) {
	return c.StartOn(ctx, "client", program...)
}

// StartOn is StartInClient for any machine of the cluster.
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

// endProcess closes a program's input, which ends it, and kills it if it does not end.
func endProcess(cmd *exec.Cmd, input io.Closer) {
	input.Close()
	force := time.AfterFunc(5*time.Second, func() { cmd.Process.Kill() })
	defer force.Stop()
	_ = cmd.Wait() // its last answer, or the lack of one, tells how it ended
}

// Close ends the program and waits for its end.
func (p *Process) Close() { p.close() }

// Said returns the tail of its standard error, which is complete only after Close.
func (p *Process) Said() string { return p.said.String() }
