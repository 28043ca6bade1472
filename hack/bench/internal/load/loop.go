package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/quantile"
)

// Loop is this program's own closed-loop generator.
type Loop struct {
	Shape
	// Wait adds WAIT <Wait> 0 to every SET; the two count as one request. 0 adds none.
	Wait int
	// For is the duration.
	For time.Duration
}

// Run sends SETs to address until the time is over or ctx ends. The time starts once every connection is open.
func (o Loop) Run(ctx context.Context, address string) (Result, quantile.Durations, error) {
	conns, err := o.dial(ctx, address)
	defer func() {
		for _, c := range conns {
			_ = c.Close() // nothing else uses it
		}
	}()
	if err != nil {
		return Result{}, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.For)
	defer cancel()
	var (
		mu   sync.Mutex
		all  [][]time.Duration
		errs []error
		wg   sync.WaitGroup
	)
	begun, used := time.Now(), processorTime()
	for i, c := range conns {
		wg.Go(func() {
			lat, err := o.connection(ctx, c, uint64(i))
			mu.Lock()
			defer mu.Unlock()
			all = append(all, lat)
			if err != nil && len(errs) < 3 {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	took := time.Since(begun)
	lat := quantile.Of(all...)
	n := len(lat) * o.Pipeline
	r := Result{Rate: float64(n) / took.Seconds(), P50: lat.At(0.5), P99: lat.At(0.99), Max: lat.At(1), Requests: n, Processor: processorTime() - used}
	return r, lat, errors.Join(errs...)
}

// processorTime returns the CPU time that this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // the kernel refuses only invalid arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (o Loop) dial(ctx context.Context, address string) (conns []net.Conn, err error) {
	var d net.Dialer
	for range o.Connections {
		c, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return conns, err
		}
		conns = append(conns, c)
	}
	return conns, nil
}

// connection times every round trip on one connection.
func (o Loop) connection(ctx context.Context, c net.Conn, seed uint64) (lat []time.Duration, err error) {
	random := rand.New(rand.NewPCG(seed, 0))
	r, out, value := bufio.NewReader(c), []byte(nil), strings.Repeat("x", o.Value)
	for ctx.Err() == nil {
		out = out[:0]
		for range o.Pipeline {
			out = fmt.Appendf(out, "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$%d\r\n%s\r\n", random.IntN(o.Keys), o.Value, value)
			if o.Wait > 0 {
				out = fmt.Appendf(out, "*3\r\n$4\r\nWAIT\r\n$1\r\n%d\r\n$1\r\n0\r\n", o.Wait)
			}
		}
		sent := time.Now()
		if _, err := c.Write(out); err != nil {
			return lat, err
		}
		if err := o.replies(r); err != nil {
			return lat, err
		}
		lat = append(lat, time.Since(sent))
	}
	return lat, nil
}

func (o Loop) replies(r *bufio.Reader) error {
	for range o.Pipeline {
		if line, err := r.ReadSlice('\n'); err != nil || string(line) != "+OK\r\n" {
			return errors.Join(err, fmt.Errorf("SET was answered %q", line))
		}
		if o.Wait == 0 {
			continue
		}
		if line, err := r.ReadSlice('\n'); err != nil || line[0] != ':' || line[1] < '0'+byte(o.Wait) {
			return errors.Join(err, fmt.Errorf("WAIT %d was answered %q", o.Wait, line))
		}
	}
	return nil
}
