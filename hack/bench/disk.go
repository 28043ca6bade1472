package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/load"
)

// probeBytes is the file that fdatasync is timed on: written before, as the store's log segments are, so that a sync
// writes data and no metadata.
const probeBytes = 4 << 20

// fdatasync times n writes of a record of one SET, each followed by fdatasync.
func (s *site) fdatasync(ctx context.Context, n int) (r load.Result, err error) {
	f, err := os.Create(filepath.Join(s.dir, "probe"))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if _, err := f.Write(make([]byte, probeBytes)); err != nil {
		return r, err
	}
	if err := f.Sync(); err != nil {
		return r, err
	}
	record, begun := make([]byte, 256), time.Now()
	var lat load.Latencies
	for i := range n {
		if ctx.Err() != nil {
			return r, context.Cause(ctx)
		}
		at := time.Now()
		if _, err := f.WriteAt(record, int64(i*len(record))%(probeBytes-256)); err != nil {
			return r, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return r, err
		}
		lat = append(lat, time.Since(at))
	}
	took := time.Since(begun)
	slices.Sort(lat)
	return load.Result{Rate: float64(n) / took.Seconds(), P50: lat.At(0.5), P99: lat.At(0.99), Max: lat.At(1)}, nil
}
