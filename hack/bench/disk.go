package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/load"
)

// disk counts what is written to a block device, by whatever program. (What the kernel counts by process, write_bytes, are
// whole folios: up to 2 MiB for each small write, on file systems that have large ones.) The empty one counts nothing.
type disk string

// diskOf is the device that the file system of dir is on; none where it is on no block device, as tmpfs is.
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

// sectorBytes is the unit of the kernel's counts, whatever the device's own sectors are.
const sectorBytes = 512

// written is in bytes, since the machine started.
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
	// probeBytes is the file that fdatasync is timed on: written before, as the store's log segments are, so that a sync
	// writes data and no metadata.
	probeBytes  = 4 << 20
	probeRecord = 256 // of one SET
)

// fdatasync times n writes of a record of one SET, each followed by fdatasync, to each of some files at once.
func (s *site) fdatasync(files int) func(context.Context, int) (load.Result, error) {
	return func(ctx context.Context, n int) (r load.Result, err error) {
		probes := make([]load.Latencies, files)
		rate, err := atOnce(files, func(i int) (_ float64, err error) {
			probes[i], err = probe(ctx, filepath.Join(s.dir, fmt.Sprintf("probe-%d", i)), func(done int) bool { return done < n })
			return perSecond(probes[i]), err
		})
		if err != nil {
			return r, err
		}
		lat := slices.Concat(probes...)
		slices.Sort(lat)
		return load.Result{Rate: rate / float64(files), P50: lat.At(0.5), P99: lat.At(0.99), Max: lat.At(1)}, nil
	}
}

// perSecond is how many of what took so long, one after the other, go into a second.
func perSecond(lat load.Latencies) float64 {
	var total time.Duration
	for _, l := range lat {
		total += l
	}
	if total == 0 {
		return 0
	}
	return float64(len(lat)) / total.Seconds()
}

// probe writes records to a file of its own, each followed by fdatasync, as long as more says so, and returns what each took.
func probe(ctx context.Context, path string, more func(done int) bool) (lat load.Latencies, err error) {
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
