package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/load"
	"github.com/replicatedstore/replicatedstore/hack/bench/internal/results"
	"github.com/replicatedstore/replicatedstore/hack/local/process"
)

// recoveryGoal is the time within which a killed member must take writes again.
const recoveryGoal = 2 * time.Second

// recovery times a lone member from kill -9 to the next acknowledged write, with a full gigabyte of log. It does so twice, with
// one gigabyte of data and with three.
func recovery(ctx context.Context, o options, dir string) (facts []results.Fact, err error) {
	const value = 16 << 10
	m, err := startAlone(ctx, o, dir)
	if err != nil {
		return nil, err
	}
	defer func() { m.proc.Kill() }()
	for _, gib := range []int{1, 3} {
		// Almost all keys are written only once, so the stored data grows with the writes.
		sh := load.Shape{Command: "set", Connections: 8, Pipeline: 4, Value: value, Keys: 10_000_000}
		requests := (1 << 30) / value
		if gib > 1 {
			requests *= gib - 1
		}
		if _, err := load.Redis(ctx, m.address, sh, requests); err != nil {
			return nil, err
		}
		m.proc.Kill()
		begun := time.Now()
		if err := m.start(ctx); err != nil {
			return nil, err
		}
		took := time.Since(begun)
		facts = append(facts, results.Fact{
			Name: fmt.Sprintf("from kill -9 to the next acknowledged write, %d GiB of data, 1 GiB of log kept", gib),
			Ours: fmt.Sprintf("%.2f s", took.Seconds()), Goal: fmt.Sprintf("<= %v", recoveryGoal), Met: took <= recoveryGoal,
			Reason: "only what the database had not flushed is replayed: recent writes and some memtables, whatever the size of log and data",
		})
	}
	return facts, nil
}

// alone is a member that leads on its own.
type alone struct {
	argv         []string
	address, log string
	proc         *process.Process
}

func startAlone(ctx context.Context, o options, dir string) (*alone, error) {
	address, err := process.FreeAddress()
	if err != nil {
		return nil, err
	}
	m := &alone{address: address, log: dir + ".log", argv: []string{o.node, "--data", filepath.Join(dir, "data"), "--listen", address}}
	return m, m.start(ctx)
}

// start runs the member and returns once it has acknowledged a write.
func (m *alone) start(ctx context.Context) (err error) {
	if m.proc, err = process.Start(m.argv, m.log); err != nil {
		return err
	}
	c := redis.NewClient(&redis.Options{Addr: m.address, MaxRetries: -1, DialTimeout: time.Second})
	defer c.Close()
	for {
		err := c.Set(ctx, "ready", strings.Repeat("x", 16), 0).Err()
		switch {
		case err == nil:
			return nil
		case !m.proc.Alive():
			return errors.Join(fmt.Errorf("it ended: %w", m.proc.Err()), err)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
