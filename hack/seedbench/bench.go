package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/local/fleet"
	"github.com/replicatedstore/replicatedstore/replication/snapshot"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// bench is one run of the benchmark.
type bench struct {
	out    io.Writer
	o      options
	f      *fleet.Fleet
	dir    string
	target int    // the member to seed
	from   string // the member that seeded it
}

// measure fills the store without the target, and then times writes on their own, during a seed, and during a copy.
func (b *bench) measure(ctx context.Context) (rows []row, err error) {
	target, leader := b.f.Members()[b.target], b.f.Members()[b.f.Leader()]
	b.f.Kill(b.target)
	if err := os.RemoveAll(target.Dir); err != nil {
		return nil, err
	}
	p := b.progress("fill")
	var mu sync.Mutex
	if err := fill(ctx, leader.Client, b.o.size, func(done int64) {
		mu.Lock()
		defer mu.Unlock()
		p.tell(done, b.o.size)
	}); err != nil {
		return nil, err
	}
	fmt.Fprintf(b.out, "waiting %v for compactions to end\n", settle)
	if err := sleep(ctx, settle); err != nil {
		return nil, err
	}
	l, err := startLoad(ctx, leader.Client, b.o.load)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.end()) }()
	if err := sleep(l.ctx, warmUp); err != nil {
		return nil, err
	}
	for _, phase := range []struct {
		name string
		run  func(context.Context) (int64, error)
	}{{"alone", b.quiet}, {"seed", b.seed}, {"copy", b.copy}} {
		l.take()
		begun := time.Now()
		n, err := phase.run(l.ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", phase.name, err)
		}
		rows = append(rows, row{phase.name, n, time.Since(begun), l.take()})
		if err := sleep(l.ctx, warmUp); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

const (
	settle = 20 * time.Second
	warmUp = 3 * time.Second
)

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b *bench) quiet(ctx context.Context) (int64, error) {
	fmt.Fprintf(b.out, "measuring %v of writes alone\n", b.o.quiet)
	return 0, sleep(ctx, b.o.quiet)
}

// seed starts the emptied member and waits until it has installed the snapshot and receives the stream.
func (b *bench) seed(ctx context.Context) (total int64, err error) {
	for i, m := range b.f.Members() {
		if i != b.target {
			if err := dropPages(m.Dir); err != nil {
				return 0, err
			}
		}
	}
	if err := b.f.Restart(b.target); err != nil {
		return 0, err
	}
	p := b.progress("seed")
	for ctx.Err() == nil {
		s, err := b.f.Members()[b.target].Status(ctx)
		switch {
		case err != nil: // still starting
		case s.Problem != "":
			return 0, errors.New(s.Problem)
		case s.Role != wire.RoleFollower:
			_ = b.f.Tend(ctx) // points it at the leader; retried after a failure
		case s.Seeding != nil && s.Seeding.ID != "":
			total, b.from = s.Seeding.TotalBytes, s.Seeding.From
			p.tell(s.Seeding.DoneBytes, total)
		case total > 0 && s.Contact != nil && s.Contact.Connected:
			return total, nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, context.Cause(ctx)
}

// copy copies the checkpoint that was sent as a plain program would, with reads and writes of the size that a seed uses.
func (b *bench) copy(ctx context.Context) (total int64, err error) {
	var source string
	for _, m := range b.f.Members() {
		if m.Name == b.from {
			source = filepath.Join(m.Dir, "checkpoints")
		}
	}
	found, err := filepath.Glob(filepath.Join(source, "*"))
	if err != nil || len(found) != 1 {
		return 0, fmt.Errorf("%d checkpoints in %s: %w", len(found), source, err)
	}
	if err := dropPages(found[0]); err != nil {
		return 0, err
	}
	to := filepath.Join(b.dir, "copy")
	if err := os.Mkdir(to, 0o755); err != nil {
		return 0, err
	}
	files, err := os.ReadDir(found[0])
	if err != nil {
		return 0, err
	}
	all, err := size(files)
	if err != nil {
		return 0, err
	}
	p := b.progress("copy")
	for _, f := range files {
		n, err := copyFile(ctx, filepath.Join(to, f.Name()), filepath.Join(found[0], f.Name()))
		if err != nil {
			return 0, err
		}
		total += n
		p.tell(total, all)
	}
	return total, syncDir(to)
}

func size(files []os.DirEntry) (total int64, err error) {
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return total, nil
}

func copyFile(ctx context.Context, to, from string) (n int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	buf := make([]byte, snapshot.ChunkBytes)
	for ctx.Err() == nil {
		m, err := io.ReadFull(in, buf)
		if _, werr := out.Write(buf[:m]); werr != nil {
			return n, werr
		}
		n += int64(m)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return n, out.Sync()
		}
		if err != nil {
			return n, err
		}
	}
	return n, context.Cause(ctx)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
