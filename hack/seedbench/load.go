package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/quantile"
)

// conn speaks the client protocol, as far as SET needs it.
type conn struct {
	net.Conn
	r   *bufio.Reader
	buf []byte
}

func dial(ctx context.Context, address string) (*conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, r: bufio.NewReader(c)}, nil
}

func (c *conn) queue(key string, value []byte) {
	c.buf = fmt.Appendf(c.buf, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n", len(key), key, len(value))
	c.buf = append(append(c.buf, value...), "\r\n"...)
}

// flush sends what is queued and reads n replies.
func (c *conn) flush(n int) error {
	_, err := c.Write(c.buf)
	c.buf = c.buf[:0]
	for range n {
		if err != nil {
			return err
		}
		var line string
		if line, err = c.r.ReadString('\n'); err == nil && line != "+OK\r\n" {
			err = errors.New(strings.TrimSpace(line))
		}
	}
	return err
}

const (
	fillValue    = 64 << 10
	fillConns    = 4
	fillPipeline = 16
)

// fill writes total bytes of incompressible values.
func fill(ctx context.Context, address string, total int64, tell func(done int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, done atomic.Int64
	var wg sync.WaitGroup
	batches := (total + fillValue*fillPipeline - 1) / (fillValue * fillPipeline)
	for i := range fillConns {
		wg.Go(func() {
			c, err := dial(ctx, address)
			if err != nil {
				cancel(err)
				return
			}
			defer c.Close()
			defer context.AfterFunc(ctx, func() { _ = c.Close() })()
			random := rand.NewChaCha8([32]byte{byte(i)})
			value := make([]byte, fillValue)
			for n := next.Add(1); n <= batches && ctx.Err() == nil; n = next.Add(1) {
				for j := range fillPipeline {
					_, _ = random.Read(value) // never fails
					c.queue("fill:"+strconv.FormatInt(n*fillPipeline+int64(j), 10), value)
				}
				if err := c.flush(fillPipeline); err != nil {
					cancel(fmt.Errorf("fill: %w", err))
					return
				}
				tell(done.Add(fillValue * fillPipeline))
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

type loadOptions struct{ rate, conns, value int }

// load writes at a fixed rate until it is stopped. It times every write from when it was due, so that a stalled store does not get
// fewer requests (no coordinated omission).
type load struct {
	stop context.CancelCauseFunc
	ctx  context.Context
	wg   sync.WaitGroup
	mu   sync.Mutex
	lat  []time.Duration // guarded by mu
}

func startLoad(ctx context.Context, address string, o loadOptions) (*load, error) {
	l := &load{}
	l.ctx, l.stop = context.WithCancelCause(ctx)
	begun := time.Now()
	every := time.Second * time.Duration(o.conns) / time.Duration(o.rate)
	for i := range o.conns {
		c, err := dial(ctx, address)
		if err != nil {
			return nil, errors.Join(err, l.end())
		}
		first := begun.Add(every * time.Duration(i) / time.Duration(o.conns))
		l.wg.Go(func() { l.write(c, i, first, every, make([]byte, o.value)) })
	}
	return l, nil
}

func (l *load) write(c *conn, i int, due time.Time, every time.Duration, value []byte) {
	defer c.Close()
	defer context.AfterFunc(l.ctx, func() { _ = c.Close() })()
	for n := 0; ; n, due = n+1, due.Add(every) {
		select {
		case <-time.After(time.Until(due)):
		case <-l.ctx.Done():
			return
		}
		c.queue(fmt.Sprintf("load:%d:%d", i, n%1000), value)
		if err := c.flush(1); err != nil {
			l.stop(fmt.Errorf("write under load: %w", err))
			return
		}
		l.mu.Lock()
		l.lat = append(l.lat, time.Since(due))
		l.mu.Unlock()
	}
}

// take returns the latencies since the previous call.
func (l *load) take() quantile.Durations {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.lat
	l.lat = nil
	return quantile.Of(out)
}

var errEnough = errors.New("measured")

// end stops the load, and returns an error if it failed before.
func (l *load) end() error {
	l.stop(errEnough)
	l.wg.Wait()
	if err := context.Cause(l.ctx); !errors.Is(err, errEnough) {
		return err
	}
	return nil
}
