package stage

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// Writer is a ledger writer at the place of the store's clients.
type Writer struct {
	*ledger.Remote
	end func()
}

// startWithin bounds the opening of a writer's connections.
const startWithin = 15 * time.Second

// Writer starts a writer whose connections to the leader are open when it returns. program runs ledger.Serve on its
// standard input and output when called with arguments; it is not needed on another cluster. Close ends the writer; so does
// the end of this process.
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

// writerHere runs it in this process, and its connections through the API server.
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

// writerThere runs it in the cluster's client machine.
func (s *Store) writerThere(ctx context.Context, program []string, opt ledger.Options) (*Writer, error) {
	p, err := s.Cluster.StartInClient(ctx, program...)
	if err != nil {
		return nil, fmt.Errorf("start the writer: %w", err)
	}
	w := &Writer{Remote: ledger.NewRemote(p.Out, p.In), end: p.Close}
	if err := w.Start(opt, startWithin); err != nil {
		w.Close() // then all it says is there
		return nil, fmt.Errorf("start the writer: %w; it says: %s", err, p.Said())
	}
	return w, nil
}

// Close ends the writer and waits for its end.
func (w *Writer) Close() { w.end() }
