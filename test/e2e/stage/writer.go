package stage

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// Writer is a ledger writer at the place of the store's clients.
type Writer struct {
	*ledger.Remote
	cmd   *exec.Cmd
	input io.Closer
	errs  *tailWriter
	once  sync.Once
}

// startWithin bounds the opening of a writer's connections.
const startWithin = 15 * time.Second

// Writer starts a writer whose connections to the leader are open when it returns. program runs ledger.Serve on its
// standard input and output when called with arguments. Close ends it; so does the end of this process, with its pipes.
func (s *Store) Writer(ctx context.Context, program []string, opt ledger.Options) (*Writer, error) {
	if s.Cluster == nil {
		return nil, fmt.Errorf("a writer needs the project's own cluster")
	}
	var err error
	if opt.Address == "" {
		if opt.Address, err = s.Address(ctx); err != nil {
			return nil, err
		}
	}
	args := append([]string{"exec", "client", "--"}, program...)
	w := &Writer{cmd: s.Cluster.command(context.WithoutCancel(ctx), args...), errs: &tailWriter{}}
	out, err := w.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the writer: %w", err)
	}
	in, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the writer: %w", err)
	}
	w.cmd.Stderr = w.errs
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the writer: %w", err)
	}
	w.input, w.Remote = out, ledger.NewRemote(in, out)
	if err := w.Start(opt, startWithin); err != nil {
		w.Close() // then all it says is there
		return nil, fmt.Errorf("start the writer: %w; it says: %s", err, w.errs)
	}
	return w, nil
}

// Close ends the far end and waits for it.
func (w *Writer) Close() {
	w.once.Do(func() {
		w.input.Close()
		ended := make(chan struct{})
		go func() { w.cmd.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			w.cmd.Process.Kill()
			<-ended
		}
	})
}
