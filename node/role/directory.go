package role

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// open opens everything the member keeps, and makes its Replica.
func (r *Runner) open() (err error) {
	r.meta, err = meta.Open(r.opt.FS, r.opt.Dir, meta.Options{
		Store: r.opt.Store, Member: r.opt.Member, Init: r.initGeneration, Logf: r.logf,
	})
	if err != nil {
		return err
	}
	if err := r.openCurrent(); err != nil {
		return errors.Join(err, r.meta.Close())
	}
	return nil
}

func (r *Runner) openCurrent() error {
	state := r.meta.State()
	if removed, err := r.meta.RemoveObsolete(); err != nil {
		return err
	} else if len(removed) > 0 {
		r.opt.Log.Info("removed what is no longer in force", "directories", removed)
	}
	g, err := r.openGeneration(state.Generation)
	if err != nil {
		return err
	}
	self := replication.Voter{Member: r.opt.Member, Incarnation: state.Incarnation}
	if r.seeds, err = newSeedServer(r); err != nil {
		return errors.Join(err, g.close())
	}
	core, err := replication.NewReplica(replication.ReplicaOptions{Store: r.opt.Store, Self: self},
		g.Log, r.meta, state.Promises, g.Machine.Applied().Position, r.opt.Now())
	if err != nil {
		return errors.Join(err, g.close())
	}
	r.core = core
	r.gen.Store(g)
	r.sync, r.apply = newSyncer(), startApplier(g, r.fail)
	r.opt.Log.Info("opened", "member", r.opt.Member, "incarnation", state.Incarnation, "role", string(core.Role()),
		"promised", state.Promises.Promised, "position", g.Log.Last().String(), "applied", g.Machine.Applied().Position)
	return nil
}

// initGeneration makes the empty log and state of a new member.
func (r *Runner) initGeneration(logDir, stateDir string) error {
	log, _, err := wal.Open(r.opt.FS, logDir, wal.Options{Create: true, Logf: r.logf})
	if err != nil {
		return err
	}
	machine, err := store.Open(r.opt.FS, stateDir, store.Options{Log: r.opt.Log})
	if err != nil {
		return errors.Join(err, log.Close())
	}
	return errors.Join(machine.Close(), log.Close())
}

// openGeneration opens log and state machine n.
func (r *Runner) openGeneration(n uint64) (*Generation, error) {
	log, rec, err := wal.Open(r.opt.FS, r.meta.LogDir(n), wal.Options{QuarantineDir: r.meta.QuarantineDir(), Logf: r.logf})
	if err != nil {
		return nil, err
	}
	if rec.TornBytes > 0 {
		r.opt.Log.Info("cut a torn tail, never acknowledged by this member", "bytes", rec.TornBytes, "copy", rec.TornCopy)
	}
	machine, err := store.Open(r.opt.FS, r.meta.StateDir(n), store.Options{
		Memory: r.opt.Memory, Log: r.opt.Log,
		OnError: func(err error) { r.fail(fmt.Errorf("state machine: %w", err)) },
	})
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	seq := store.NewSequencer(machine, store.SequencerOptions{
		Clock: func() int64 { return r.opt.Now().UnixMilli() }, WaitTimeout: longestWait,
	})
	return &Generation{Log: log, Machine: machine, Seq: seq}, nil
}

// longestWait bounds every wait for a commit; connections bound theirs further.
const longestWait = 10 * time.Minute

func (g *Generation) close() error { return errors.Join(g.Machine.Close(), g.Log.Close()) }

func (r *Runner) logf(format string, args ...any) { r.opt.Log.Info(fmt.Sprintf(format, args...)) }

// quarantine counts entries that a rejoin cut from the log.
func (r *Runner) quarantine(cut uint64) {
	_ = r.final(r.meta.Update(func(s *meta.State) { s.Quarantined += cut }))
}

// diskUsage tells about the volume; zeros where the file system does not say.
func (r *Runner) diskUsage() wire.Disk {
	u, err := r.opt.FS.GetDiskUsage(r.opt.Dir)
	if err != nil {
		return wire.Disk{}
	}
	return wire.Disk{UsedBytes: int64(u.UsedBytes), FreeBytes: int64(u.AvailBytes), TotalBytes: int64(u.TotalBytes)}
}

// close ends everything in order; it runs in the role goroutine, last.
func (r *Runner) close() {
	close(r.stopping)
	r.endLeadership(errStopped)
	r.dial(dialTarget{}, r.opt.Now())
	r.lastDial.wait()
	r.apply.stop()
	err := r.sync.settle()
	close(r.sync.requests)
	r.flush()
	if err = errors.Join(err, r.seeds.close(), r.gen.Load().close(), r.meta.Close()); err != nil {
		r.opt.Log.Error(err, "close")
	}
}

// flushGrace bounds the flush at the end, which spares the next start the replay of the log.
const flushGrace = 5 * time.Second

func (r *Runner) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), flushGrace)
	defer cancel()
	if _, err := r.gen.Load().Machine.Flush(ctx); err != nil {
		r.opt.Log.Info("not flushed; the next start replays the log instead", "reason", err.Error())
	}
}
