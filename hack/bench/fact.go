package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/load"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/peers"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/results"
)

// facts measures what is reported in absolute numbers.
func facts(ctx context.Context, out io.Writer, o options, dir string, only *regexp.Regexp, report *results.Report) error {
	for _, part := range []struct {
		name string
		run  func(context.Context, options, string) ([]results.Fact, error)
	}{{"bytes", bytesOfWrites}, {"memory", memory}, {"recovery", recovery}, {"stalls", stalls}} {
		if !only.MatchString(part.name) {
			continue
		}
		fmt.Fprintf(out, "measuring %s\n", part.name)
		found, err := part.run(ctx, o, filepath.Join(dir, part.name))
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		report.Facts = append(report.Facts, found...)
	}
	return nil
}

const keyBytes = 16 // size of redis-benchmark's keys

// bytesOfWrites measures the size of a SET in the log, on the wire and on the disk.
func bytesOfWrites(ctx context.Context, o options, dir string) (facts []results.Fact, err error) {
	for _, c := range []struct{ value, requests int }{{128, 200_000}, {4096, 40_000}} {
		found, err := bytesOfValue(ctx, o, filepath.Join(dir, fmt.Sprint(c.value)), c.value, c.requests)
		if err != nil {
			return nil, err
		}
		facts = append(facts, found...)
	}
	return facts, nil
}

func bytesOfValue(ctx context.Context, o options, dir string, value, requests int) (_ []results.Fact, err error) {
	sh := load.Shape{Command: "set", Connections: 50, Pipeline: 1, Value: value, Keys: 1_000_000}
	f, err := startFleet(ctx, o, dir, 3, 1, "--log-retain-bytes=2147483648")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Stop()) }()
	r, err := peers.StartRedis(ctx, dir, 2)
	if err != nil {
		return nil, err
	}
	defer r.Stop()
	_, others := pids(f)
	replicas := r.Pids()
	d, err := diskOf(dir)
	if err != nil {
		return nil, err
	}
	ours, err := costOf(ctx, d, leader(f), f.Members()[f.Leader()].Peer, others, sh, requests)
	if err != nil {
		return nil, err
	}
	theirs, err := costOf(ctx, d, r.Address, r.Address, replicas[1:], sh, requests)
	if err != nil {
		return nil, err
	}
	log, err := logBytes(f.Members()[f.Leader()].Dir)
	if err != nil {
		return nil, err
	}
	payload := float64((keyBytes + value) * requests)
	per := func(n int64) string { return fmt.Sprintf("%.2f", float64(n)/payload) }
	name := fmt.Sprintf(" per byte of key and value, values of %d bytes", value)
	return []results.Fact{
		{Name: "log bytes" + name, Ours: per(log), Reason: "a record's header of 48 bytes and a note of 32 are shared by its batch; an entry has some 12 bytes more than key and value"},
		{Name: "bytes received by both followers" + name, Ours: per(ours.wire), Theirs: per(theirs.wire), Reason: "the record as it is in the log, to each of two; a frame of 33 bytes for each batch"},
		{Name: "bytes written to the disk by all three" + name, Ours: per(ours.disk), Theirs: per(theirs.disk), Reason: "new log segments are written twice (zeros first, so that fdatasync writes no metadata; pruned ones are written over); an fsync writes whole pages of 4 KiB; tables are flushed and compacted. Redis appends to one file, and rewrites it now and then"},
	}, nil
}

type cost struct{ wire, disk int64 }

// costOf counts the bytes that requests cause between a leader and its followers, and on the disk of all of them. The latter
// includes what other programs write meanwhile.
func costOf(ctx context.Context, d disk, client, peer string, followers []int, sh load.Shape, requests int) (c cost, err error) {
	wire, err := receivedFrom(ctx, followers, peer)
	if err != nil {
		return c, err
	}
	before, err := d.written()
	if err != nil {
		return c, err
	}
	if _, err := load.Redis(ctx, client, sh, requests); err != nil {
		return c, err
	}
	if c.wire, err = receivedFrom(ctx, followers, peer); err != nil {
		return c, err
	}
	c.disk, err = d.written()
	return cost{c.wire - wire, c.disk - before}, err
}

// Parameters of the memory measurement.
const (
	idleConnections = 5000
	manyKeys        = 1_000_000
)

// memory measures a store's memory at rest, of idle connections, and of keys.
func memory(ctx context.Context, o options, dir string) (_ []results.Fact, err error) {
	f, err := startFleet(ctx, o, dir, 3, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Stop()) }()
	r, err := peers.StartRedis(ctx, dir, 2)
	if err != nil {
		return nil, err
	}
	defer r.Stop()
	lead, _ := pids(f)
	ours, err := memoryOf(ctx, lead, leader(f))
	if err != nil {
		return nil, err
	}
	theirs, err := memoryOf(ctx, r.Pids()[0], r.Address)
	if err != nil {
		return nil, err
	}
	mib := func(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
	kib := func(n int64) string { return fmt.Sprintf("%.1f KiB", float64(n)/idleConnections/1024) }
	return []results.Fact{
		{Name: "resident memory of a member at rest", Ours: mib(ours.rest), Theirs: mib(theirs.rest), Reason: "the Go runtime, the database's empty memtable and caches"},
		{Name: "resident memory of an idle connection", Ours: kib(ours.connections), Theirs: kib(theirs.connections), Reason: "the connection's own state and the runtime's descriptor; while idle neither buffers nor, after a second or two, a goroutine"},
		{Name: "resident memory for a million keys with values of 128 bytes", Ours: mib(ours.keys), Theirs: mib(theirs.keys), Reason: "bounded by --memory (256 MiB here), the log's newest 32 MiB, and what the Go runtime has not collected yet: keys live on disk. Redis keeps all of them in memory"},
	}, nil
}

type footprint struct{ rest, connections, keys int64 }

func memoryOf(ctx context.Context, pid int, address string) (f footprint, err error) {
	if f.rest, err = resident(pid); err != nil {
		return f, err
	}
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for range idleConnections {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return f, err
		}
		open = append(open, c)
	}
	time.Sleep(3 * time.Second) // until all are accepted and have released their goroutines
	if f.connections, err = resident(pid); err != nil {
		return f, err
	}
	f.connections -= f.rest
	// With three times as many requests as keys, nineteen of twenty keys exist afterwards.
	sh := load.Shape{Command: "set", Connections: 50, Pipeline: 32, Value: valueBytes, Keys: manyKeys}
	if _, err := load.Redis(ctx, address, sh, 3*manyKeys); err != nil {
		return f, err
	}
	f.keys, err = resident(pid)
	f.keys -= f.rest + f.connections
	return f, err
}
