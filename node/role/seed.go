package role

import (
	"context"
	"errors"
	"io"

	"github.com/replicatedstore/replicatedstore/replication"
)

type seedServer struct{}

func newSeedServer(*Runner) *seedServer { return &seedServer{} }

func (*seedServer) close() {}

func (*seedServer) serve(context.Context, replication.Hello, io.ReadWriter) error {
	return errors.New("cannot seed")
}

func (r *Runner) receiveSeed(context.Context, *session, io.ReadWriter) error {
	return errors.New("cannot be seeded")
}
