package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/limits"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/load"
)

const (
	// mostMembers is the largest number of logs on one disk in any curve.
	mostMembers = 7
	// repeats is how often each thing is measured. The best result counts, because other load on the machine is no limit of it.
	repeats      = 3
	writtenFiles = 3 // at once, as three members do
	writeChunk   = 1 << 20
	writeSync    = 8 << 20 // this often
	largeValue   = 1 << 20
)

// gauge measures what the machine can do.
func (s *site) gauge(ctx context.Context) (g limits.Gauge, err error) {
	g.Processors = runtime.NumCPU()
	for n := 1; n <= mostMembers; n++ {
		rate, err := best(func() (float64, error) { return atOnce(n, func(i int) (float64, error) { return s.syncRate(ctx, i) }) })
		if err != nil {
			return g, fmt.Errorf("fdatasync of %d files at once: %w", n, err)
		}
		g.Syncs = append(g.Syncs, rate/float64(n))
	}
	g.DiskBytes, err = best(func() (float64, error) {
		return atOnce(writtenFiles, func(i int) (float64, error) { return s.writeRate(ctx, i) })
	})
	if err != nil {
		return g, fmt.Errorf("writing files: %w", err)
	}
	sh := load.Shape{Command: "set", Connections: 4, Pipeline: 1, Value: largeValue, Keys: 16}
	g.LoopbackBytes, err = best(func() (float64, error) {
		r, err := load.Redis(ctx, s.null.Address, sh, 128)
		return r.Rate * largeValue, err
	})
	return g, err
}

// best returns the best of several measurements of a rate.
func best(measure func() (float64, error)) (most float64, err error) {
	for range repeats {
		rate, err := measure()
		if err != nil {
			return 0, err
		}
		most = max(most, rate)
	}
	return most, nil
}

// atOnce does n things in parallel and adds up their rates.
func atOnce(n int, do func(i int) (float64, error)) (total float64, err error) {
	rates, errs := make([]float64, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { rates[i], errs[i] = do(i) })
	}
	wg.Wait()
	for _, r := range rates {
		total += r
	}
	return total, errors.Join(errs...)
}

func (s *site) slice() time.Duration { return s.o.point / repeats }

// syncRate returns how many times per second file i can be synced.
func (s *site) syncRate(ctx context.Context, i int) (float64, error) {
	end := time.Now().Add(s.slice())
	lat, err := probe(ctx, filepath.Join(s.dir, fmt.Sprintf("probe-%d", i)), func(done int) bool { return done == 0 || time.Now().Before(end) })
	return perSecond(lat), err
}

// writeRate returns how many bytes per second can be written sequentially to file i.
func (s *site) writeRate(ctx context.Context, i int) (rate float64, err error) {
	f, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("written-%d", i)))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	chunk, done, begun := make([]byte, writeChunk), 0, time.Now()
	for done == 0 || time.Since(begun) < s.slice() {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		for range writeSync / writeChunk {
			if _, err := f.Write(chunk); err != nil {
				return 0, err
			}
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		done += writeSync
	}
	return float64(done) / time.Since(begun).Seconds(), nil
}
