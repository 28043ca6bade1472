package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/replicatedstore/replicatedstore/hack/soak/internal/history"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// connection is a client with one connection at a time, used by one goroutine. It never retries a command.
type connection struct {
	address string
	timeout time.Duration
	client  *redis.Client
	made    int // number of connections made so far; identifies the one that answered last
}

func dial(address string, timeout time.Duration) *connection {
	c := &connection{address: address, timeout: timeout}
	c.renew()
	return c
}

func (c *connection) renew() {
	dialer := net.Dialer{Timeout: c.timeout}
	c.client = redis.NewClient(ledger.ClientOptions(c.address, c.timeout, func(ctx context.Context, address string) (net.Conn, error) {
		c.made++
		return dialer.DialContext(ctx, "tcp", address)
	}))
}

// ended handles the end of a command. After a failed connection attempt, the client library would not retry for a second and would
// only repeat its last error. Since we measure the store, a new client takes its place.
func (c *connection) ended(err error) {
	var answer redis.Error
	if err != nil && !errors.As(err, &answer) && ledger.Judge(err) == ledger.Failed {
		c.close()
		c.renew()
	}
}

func (c *connection) close() { c.client.Close() }

// do executes an operation and fills in its answer. An absent value is an answer, not an error.
func (c *connection) do(o *history.Op) (err error) {
	defer func() { c.ended(err) }()
	ctx := context.Background() // bounded by the client's own timeouts
	switch o.Kind {
	case history.Get:
		o.Value, err = c.client.Get(ctx, o.Key).Result()
	case history.Set:
		return c.client.Set(ctx, o.Key, o.Arg, 0).Err()
	case history.Swap:
		o.Value, err = c.client.SetArgs(ctx, o.Key, o.Arg, redis.SetArgs{Get: true}).Result()
	case history.SetNew:
		err = c.client.SetArgs(ctx, o.Key, o.Arg, redis.SetArgs{Mode: "NX"}).Err()
	case history.Delete:
		var n int64
		n, err = c.client.Del(ctx, o.Key).Result()
		o.Found = n > 0
		return err
	default:
		return fmt.Errorf("operation %q is none", o.Kind)
	}
	if o.Found = err == nil; errors.Is(err, redis.Nil) {
		err = nil
	}
	return err
}

// refused reports whether a member said that it may not answer this read.
func refused(err error) bool {
	kind := errorKind(err)
	return kind == "MASTERDOWN" || kind == "LOADING"
}

// errorKind returns one word for an error: the code in the reply, or what happened to the connection.
func errorKind(err error) string {
	var answer redis.Error
	var network net.Error
	switch {
	case errors.As(err, &answer):
		code, _, _ := strings.Cut(answer.Error(), " ")
		return code
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return "connection lost"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		if ledger.Judge(err) == ledger.Failed {
			return "no connection in time"
		}
		return "no answer in time"
	case ledger.Judge(err) == ledger.Failed:
		return "no connection"
	}
	return "other"
}
