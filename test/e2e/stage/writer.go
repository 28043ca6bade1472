package stage

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// Writer is a ledger writer that runs where the store's clients are.
type Writer struct {
	*ledger.Remote
	end func()
}

// startWithin bounds the opening of a writer's connections.
const startWithin = time.Minute

// Writer starts a writer, and returns once its connections to the leader are open. program, with its arguments, must run
// ledger.Serve on its standard input and output; another cluster does not need it. The writer ends with Close, or with this
// process.
func (s *Store) Writer(ctx context.Context, program []string, opt ledger.Options) (*Writer, error) {
	if opt.Address == "" {
		var err error
		if opt.Address, err = s.Address(ctx); err != nil {
			return nil, err
		}
	}
	if s.Cluster == nil {
		return s.writerHere(ctx, opt)
	}
	return s.writerThere(ctx, program, opt)
}

// writerHere runs the writer in this process, with connections through the API server.
func (s *Store) writerHere(ctx context.Context, opt ledger.Options) (*Writer, error) {
	requests, ask := io.Pipe()
	hear, answers := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- ledger.Serve(context.WithoutCancel(ctx), requests, answers, s.dial)
		answers.Close()
	}()
	w := &Writer{Remote: ledger.NewRemote(hear, ask), end: sync.OnceFunc(func() {
		ask.Close()
		<-ended
	})}
	if err := w.Start(opt, startWithin); err != nil {
		w.Close()
		return nil, fmt.Errorf("start the writer: %w", err)
	}
	return w, nil
}

// writerThere runs the writer on the cluster's client machine.
func (s *Store) writerThere(ctx context.Context, program []string, opt ledger.Options) (*Writer, error) {
	p, err := s.Cluster.StartInClient(ctx, program...)
	if err != nil {
		return nil, fmt.Errorf("start the writer: %w", err)
	}
	w := &Writer{Remote: ledger.NewRemote(p.Out, p.In), end: p.Close}
	if err := w.Start(opt, startWithin); err != nil {
		w.Close() // afterwards its standard error is complete
		return nil, fmt.Errorf("start the writer: %w; it says: %s", err, p.Said())
	}
	return w, nil
}

// Close ends the writer and waits for its end.
func (w *Writer) Close() { w.end() }
