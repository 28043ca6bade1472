package load

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/soak/internal/history"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// pair is two keys that one writer keeps counting up; see history.View. It is safe for concurrent use.
type pair struct {
	run   string
	index int

	mu    sync.Mutex
	made  int
	begun int64 // the writer's current number
}

func newPair(run string, index int) *pair { return &pair{run: run, index: index, made: 1} }

// name returns the name of the pair in use and the writer's current number.
func (p *pair) name() (string, int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("pair:%s:%d:%d", p.run, p.index, p.made), p.begun
}

func (p *pair) begin(number int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = number
}

// retire replaces the pair with a new one. An operation that is still open on the old pair may take effect at any time, so the
// order of its changes is no longer certain.
func (p *pair) retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made, p.begun = p.made+1, 0
}

func keysOf(pair string) (first, second string) { return pair + ":first", pair + ":second" }

const (
	countPause  = 20 * time.Millisecond  // between two writes of a pair
	followPause = 50 * time.Millisecond  // between two reads of a follower
	errorPause  = 100 * time.Millisecond // after a failure
	// connectionLife is how long a reader keeps a connection. It then makes a new one, so that the Service leads it to every
	// follower in turn.
	connectionLife = 10 * time.Second
)

// count writes a pair.
func (l *Load) count(ctx context.Context, p *pair) {
	conn := dial(l.opt.Followers.ReadWrite, l.opt.Timeout)
	defer conn.close()
	for number := int64(1); ctx.Err() == nil; {
		p.begin(number)
		name, _ := p.name()
		first, second := keysOf(name)
		outcome := l.put(ctx, conn, first, number)
		if outcome == ledger.Acknowledged {
			outcome = l.put(ctx, conn, second, number)
		}
		switch outcome {
		case ledger.Acknowledged:
			number++
		case ledger.Unknown:
			p.retire()
			number = 1
		case ledger.Failed: // ctx has ended
		}
		ledger.Sleep(ctx, countPause)
	}
}

// put writes a number. It retries as long as the store says that the write was not done.
func (l *Load) put(ctx context.Context, conn *connection, key string, number int64) ledger.Outcome {
	for {
		err := conn.client.Set(context.Background(), key, number, 0).Err()
		conn.ended(err)
		outcome := ledger.Judge(err)
		if outcome != ledger.Failed || ctx.Err() != nil {
			return outcome
		}
		ledger.Sleep(ctx, errorPause)
	}
}

// follow reads a pair from a follower, over one connection after the other.
func (l *Load) follow(ctx context.Context, p *pair, m ledger.Member) {
	conn := dial(m.Address, l.opt.Timeout)
	defer func() { conn.close() }()
	id, begun := 0, time.Now()
	for ctx.Err() == nil {
		if time.Since(begun) > connectionLife {
			conn.close()
			conn, begun, id = dial(m.Address, l.opt.Timeout), time.Now(), id+1
		}
		name, _ := p.name()
		v := history.View{Pair: name, Call: l.now()}
		first, second, err := conn.both(keysOf(name))
		if v.First, v.Second, v.Return = first, second, l.now(); err != nil {
			ledger.Sleep(ctx, errorPause)
			continue
		}
		now, at := p.name()
		if v.Begun = at; now != name {
			continue // retired meanwhile: the number belongs to another pair
		}
		v.Connection = fmt.Sprintf("%s/%d#%d.%d", m.Name, p.index, id, conn.made)
		l.history.View(v)
		l.mu.Lock()
		l.stats.Views++
		l.mu.Unlock()
		ledger.Sleep(ctx, followPause)
	}
}

// both reads two numbers in one command, and so at one position of the log.
func (c *connection) both(first, second string) (a, b int64, err error) {
	values, err := c.client.MGet(context.Background(), first, second).Result()
	c.ended(err)
	if err != nil {
		return 0, 0, err
	}
	if len(values) != 2 {
		return 0, 0, fmt.Errorf("MGET of two keys answers %d", len(values))
	}
	a, errA := number(values[0])
	b, errB := number(values[1])
	return a, b, errors.Join(errA, errB)
}

// number converts a reply to a number; absent is 0.
func number(v any) (int64, error) {
	if v == nil {
		return 0, nil
	}
	s, ok := v.(string)
	if !ok {
		return 0, fmt.Errorf("MGET answers %T", v)
	}
	return strconv.ParseInt(s, 10, 64)
}
