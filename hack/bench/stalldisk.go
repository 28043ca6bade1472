package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/replicatedstore/replicatedstore/hack/quantile"
)

const (
	aloneTime = 10 * time.Second
	// Tables are written back every bulkChunk, like the store's. After bulkFile, the next file begins.
	bulkChunk = 1 << 20
	bulkFile  = 64 << 20
)

// diskAlone times fdatasync on as many files in parallel as there are members, each begun at most once per period, while bulk
// bytes per second are written beside them and no server runs. It shows how long this disk delays anybody who shares it with such
// a load.
func diskAlone(ctx context.Context, dir string, members int, period time.Duration, bulk float64) (quantile.Durations, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	written := make(chan error, 1)
	go func() { written <- writeSteadily(ctx, dir, bulk) }()
	over := time.Now().Add(aloneTime)
	probes := make([][]time.Duration, members)
	_, err := atOnce(members, func(i int) (_ float64, err error) {
		next := time.Now()
		probes[i], err = probe(ctx, filepath.Join(dir, fmt.Sprintf("alone-%d", i)), func(int) bool {
			time.Sleep(time.Until(next))
			next = time.Now().Add(period)
			return next.Before(over)
		})
		return 0, err
	})
	stop()
	if err = errors.Join(err, <-written); err != nil {
		return nil, err
	}
	return quantile.Of(probes...), nil
}

// writeSteadily writes rate bytes per second to files in dir until ctx ends. It removes each file once it is complete.
func writeSteadily(ctx context.Context, dir string, rate float64) error {
	begun, done := time.Now(), 0.0
	for n := 0; ctx.Err() == nil; n++ {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("bulk-%d", n)))
		if err != nil {
			return err
		}
		err = fillSteadily(ctx, f, begun, &done, rate)
		if err = errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// fillSteadily writes one file in chunks, each when it is due. done counts the bytes since begun.
func fillSteadily(ctx context.Context, f *os.File, begun time.Time, done *float64, rate float64) error {
	chunk := make([]byte, bulkChunk)
	for at := int64(0); at < bulkFile && ctx.Err() == nil; at += bulkChunk {
		time.Sleep(time.Until(begun.Add(time.Duration(*done / rate * float64(time.Second)))))
		if _, err := f.Write(chunk); err != nil {
			return err
		}
		if err := unix.SyncFileRange(int(f.Fd()), at, bulkChunk, unix.SYNC_FILE_RANGE_WRITE); err != nil {
			return err
		}
		*done += bulkChunk
	}
	return nil
}
