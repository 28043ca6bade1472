package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/load"
	"github.com/replicatedstore/replicatedstore/hack/quantile"
)

// disk counts what any program writes to a block device. (The kernel's count per process, write_bytes, is useless here: it counts
// whole folios, which are up to 2 MiB for each small write on file systems with large folios.) The empty disk counts nothing.
type disk string

// diskOf returns the device of dir's file system. It is empty if there is no block device, as with tmpfs.
func diskOf(dir string) (disk, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return "", fmt.Errorf("look at %s: %w", dir, err)
	}
	path := fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(st.Dev), unix.Minor(st.Dev))
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return disk(path), nil
}

// sectorBytes is the unit of the kernel's counts, whatever the device's own sector size.
const sectorBytes = 512

// written returns the bytes written since the machine was booted.
func (d disk) written() (int64, error) {
	if d == "" {
		return 0, nil
	}
	b, err := os.ReadFile(string(d))
	if err != nil {
		return 0, err
	}
	const sectorsWritten = 6
	fields := strings.Fields(string(b))
	if len(fields) <= sectorsWritten {
		return 0, fmt.Errorf("%s has %d fields", d, len(fields))
	}
	sectors, err := strconv.ParseInt(fields[sectorsWritten], 10, 64)
	return sectors * sectorBytes, err
}

const (
	// probeBytes is the size of the file for timing fdatasync. The file is fully written before, like the store's log segments, so
	// that a sync writes data and no metadata.
	probeBytes  = 4 << 20
	probeRecord = 256 // bytes of one SET
)

// fdatasync times n writes of a record of one SET, each followed by fdatasync, on each of several files in parallel.
func (s *site) fdatasync(files int) func(context.Context, int) (load.Result, error) {
	return func(ctx context.Context, n int) (r load.Result, err error) {
		probes := make([][]time.Duration, files)
		rate, err := atOnce(files, func(i int) (_ float64, err error) {
			probes[i], err = probe(ctx, filepath.Join(s.dir, fmt.Sprintf("probe-%d", i)), func(done int) bool { return done < n })
			return perSecond(probes[i]), err
		})
		if err != nil {
			return r, err
		}
		lat := quantile.Of(probes...)
		return load.Result{Rate: rate / float64(files), P50: lat.At(0.5), P99: lat.At(0.99), Max: lat.At(1)}, nil
	}
}

// perSecond returns how many operations with these latencies fit into a second, one after the other.
func perSecond(lat []time.Duration) float64 {
	var total time.Duration
	for _, l := range lat {
		total += l
	}
	if total == 0 {
		return 0
	}
	return float64(len(lat)) / total.Seconds()
}

// probe writes records to a new file, each followed by fdatasync, for as long as more returns true. It returns the latencies.
func probe(ctx context.Context, path string, more func(done int) bool) (lat []time.Duration, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	if _, err := f.Write(make([]byte, probeBytes)); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	record := make([]byte, probeRecord)
	for i := 0; more(i); i++ {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		at := time.Now()
		if _, err := f.WriteAt(record, int64(i*probeRecord)%(probeBytes-probeRecord)); err != nil {
			return nil, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return nil, err
		}
		lat = append(lat, time.Since(at))
	}
	return lat, nil
}
