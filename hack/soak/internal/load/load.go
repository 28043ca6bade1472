package load

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/replicatedstore/replicatedstore/hack/soak/internal/history"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// Load is all clients together.
type Load struct {
	opt       Options
	zero      time.Time // time 0 of the history; carries the monotonic clock
	history   *history.Writer
	registers *registers
	stop      context.CancelFunc
	done      sync.WaitGroup

	mu    sync.Mutex
	stats Stats
	gaps  ledger.Gaps
}

// Start opens the history and starts the clients. They ignore the end of ctx; Finish stops them.
func Start(ctx context.Context, o Options) (*Load, error) {
	if err := o.valid(); err != nil {
		return nil, err
	}
	l := &Load{opt: o, zero: time.Now(), registers: newRegisters(o), stats: Stats{Errors: map[string]int64{}}}
	var err error
	if l.history, err = history.Create(o.History, history.Head{Run: o.Run, Zero: l.zero}); err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	for i := range o.Clients {
		l.done.Go(func() { l.work(running, i) })
	}
	for i, address := range append([]ledger.Member{{Name: "ro", Address: o.Registers.ReadOnly}}, o.Registers.Members...) {
		l.done.Go(func() { l.ask(running, o.Clients+i, address) })
	}
	for i := range o.Pairs {
		p := newPair(o.Run, i)
		l.done.Go(func() { l.count(running, p) })
		l.done.Go(func() { l.follow(running, p, ledger.Member{Name: "ro", Address: o.Followers.ReadOnly}) })
		l.done.Go(func() { l.follow(running, p, o.Followers.Members[i%len(o.Followers.Members)]) })
	}
	return l, nil
}

// now returns the time in the history, in nanoseconds. It is never 0, which means "open".
func (l *Load) now() int64 { return int64(time.Since(l.zero)) + 1 }

// random returns a random source for one client, so that clients do not contend for a shared one.
func (l *Load) random(client int) *rand.Rand {
	return rand.New(rand.NewPCG(l.opt.Seed, uint64(client)))
}

// kinds lists the operations, each as often as its relative frequency.
var kinds = []history.Kind{
	history.Get, history.Get, history.Get, history.Get, history.Set, history.Set, history.Set, history.Swap, history.Swap,
	history.SetNew, history.Delete,
}

// work is one client of the registers.
func (l *Load) work(ctx context.Context, client int) {
	conn := dial(l.opt.Registers.ReadWrite, l.opt.Timeout)
	defer conn.close()
	random := l.random(client)
	for n := 1; ctx.Err() == nil; n++ {
		slot, kind := random.IntN(l.opt.Slots), kinds[random.IntN(len(kinds))]
		o := history.Op{Client: client, Kind: kind, Key: l.registers.key(slot, time.Now()), Via: "rw"}
		if kind != history.Get && kind != history.Delete {
			o.Arg = fmt.Sprintf("%d.%d", client, n)
		}
		if outcome := l.once(conn, &o); outcome == ledger.Unknown && kind != history.Get {
			l.registers.opened(slot, o.Key)
		}
		ledger.Sleep(ctx, time.Duration(random.Int64N(2*int64(l.opt.Think))))
	}
}

// once does one operation through the Service and records it in the history.
func (l *Load) once(conn *connection, o *history.Op) ledger.Outcome {
	o.Call = l.now()
	err := conn.do(o)
	outcome, end := ledger.Judge(err), l.now()
	if outcome == ledger.Acknowledged {
		o.Return = end
	}
	l.mu.Lock()
	switch {
	case outcome == ledger.Acknowledged && o.Kind == history.Get:
		l.stats.Reads++
	case outcome == ledger.Acknowledged:
		l.stats.Writes++
		l.gaps.Acknowledged(time.Now())
	case outcome == ledger.Unknown && o.Kind != history.Get:
		l.stats.Unknown++
	}
	if err != nil {
		l.stats.Errors[errorKind(err)]++
	}
	l.mu.Unlock()
	if outcome != ledger.Failed {
		l.history.Op(*o)
	}
	return outcome
}

// askPause is the pause between two reads of a client that asks a member.
const askPause = 100 * time.Millisecond

// ask reads registers at one member, or at the Service of the followers. Only a leader may answer, and its answers belong to the
// same history as everything else.
func (l *Load) ask(ctx context.Context, client int, m ledger.Member) {
	conn := dial(m.Address, l.opt.Timeout)
	defer conn.close()
	random := l.random(client)
	for ; ctx.Err() == nil; ledger.Sleep(ctx, askPause) {
		o := history.Op{Client: client, Kind: history.Get, Key: l.registers.key(random.IntN(l.opt.Slots), time.Now()), Via: m.Name}
		o.Call = l.now()
		err := conn.do(&o)
		o.Return = l.now()
		l.mu.Lock()
		switch {
		case err == nil:
			l.stats.Reads++
			l.stats.Asked++
		case refused(err):
			l.stats.Refused++
		}
		l.mu.Unlock()
		if err == nil {
			l.history.Op(o)
		}
	}
}

// Stats returns the counts so far. Gap is the worst gap after since.
func (l *Load) Stats(since time.Time) Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Errors = maps.Clone(s.Errors)
	s.Gap, s.LastAcknowledged = l.gaps.Worst(since, time.Now()), l.gaps.Last()
	return s
}

// finalReaders is the number of concurrent readers in Finish.
const finalReaders = 4

// Finish stops the clients, reads every register once more, and closes the history. It fails if a register cannot be read before
// ctx ends, or if the history could not be written.
func (l *Load) Finish(ctx context.Context) error {
	l.stop()
	l.done.Wait()
	var group errgroup.Group
	keys := make(chan string)
	for i := range finalReaders {
		group.Go(func() error {
			conn := dial(l.opt.Registers.ReadWrite, l.opt.Timeout)
			defer conn.close()
			var failed error
			for key := range keys {
				failed = errors.Join(failed, l.readBack(ctx, conn, -1-i, key))
			}
			return failed
		})
	}
	for _, key := range l.registers.keys() {
		keys <- key
	}
	close(keys)
	return errors.Join(group.Wait(), l.history.Close())
}

// readBack reads one register, retrying until it gets an answer.
func (l *Load) readBack(ctx context.Context, conn *connection, client int, key string) error {
	for {
		o := history.Op{Client: client, Kind: history.Get, Key: key, Via: history.Final}
		if l.once(conn, &o) == ledger.Acknowledged {
			return nil
		}
		if ledger.Sleep(ctx, askPause); ctx.Err() != nil {
			return fmt.Errorf("read %s at the end: %w", key, context.Cause(ctx))
		}
	}
}
