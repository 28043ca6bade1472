package ledger

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Options configure a Writer.
type Options struct {
	// ID identifies the writer in keys and values. No two writers of one store may share it.
	ID string `json:"id"`
	// Address is the leader's host:port, usually that of a Service that follows the leader.
	Address     string `json:"address"`
	Connections int    `json:"connections"` // default 8
	Slots       int    `json:"slots"`       // Overwrite keys per connection; default 64
	Kinds       []Kind `json:"kinds"`       // default all, in turn
	// Rate is in writes per second over all connections; 0 means as fast as possible.
	Rate int `json:"rate"`
	// Timeout bounds one write, and the making of one connection; default 2 s. When it expires, the outcome is unknown.
	Timeout time.Duration `json:"timeout"`
	// Password is sent on every connection, including those of Verify; "" sends none.
	Password string `json:"password,omitempty"`
	// Dial makes connections, including those of Verify; nil means TCP.
	Dial Dial `json:"-"`
}

// Dial connects to a member, or to a Service, by its host:port.
type Dial func(ctx context.Context, address string) (net.Conn, error)

func (o Options) withDefaults() Options {
	if o.Connections <= 0 {
		o.Connections = 8
	}
	if o.Slots <= 0 {
		o.Slots = 64
	}
	if len(o.Kinds) == 0 {
		o.Kinds = Kinds
	}
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Second
	}
	return o
}

// Writer writes over several connections until it is stopped.
type Writer struct {
	opt     Options
	journal *journal
	clients []*redis.Client
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// Start opens every connection, so that they exist before any fault, and begins to write. It retries until ctx ends, since a
// Service that is ready may need another moment before it leads to the leader. The writer itself ignores ctx.
func Start(ctx context.Context, opt Options) (*Writer, error) {
	opt = opt.withDefaults()
	if opt.ID == "" || opt.Address == "" {
		return nil, errors.New("start a ledger writer: an ID and an address are needed")
	}
	w := &Writer{opt: opt, journal: newJournal(opt.ID, opt.Slots)}
	for i := range opt.Connections {
		c := opt.client(opt.Address, opt.Timeout)
		w.clients = append(w.clients, c)
		for err := c.Ping(ctx).Err(); err != nil; err = c.Ping(ctx).Err() {
			if Sleep(ctx, pollPeriod); ctx.Err() != nil {
				w.close()
				return nil, fmt.Errorf("open connection %d to %s: %w", i, opt.Address, err)
			}
		}
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.stop = stop
	for i := range w.clients {
		w.done.Go(func() { w.run(running, i) })
	}
	return w, nil
}

func (o Options) client(address string, timeout time.Duration) *redis.Client {
	c := ClientOptions(address, timeout, o.Dial)
	if o.Password != "" {
		c.Username, c.Password = "default", o.Password
	}
	return redis.NewClient(c)
}

// ClientOptions returns the options of a client with a single connection that neither retries nor hides errors.
func ClientOptions(address string, timeout time.Duration, dial Dial) *redis.Options {
	if dial == nil {
		dialer := net.Dialer{Timeout: timeout}
		dial = func(ctx context.Context, addr string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", addr) }
	}
	return &redis.Options{
		// Only one connection at a time is used. But after as many refused dials as the pool has places, go-redis pauses for a
		// second before the next one, and we would measure that instead of the store.
		Addr: address, PoolSize: 4096, MaxRetries: -1, DialerRetries: 1,
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, PoolTimeout: 2 * timeout,
		ContextTimeoutEnabled:    true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		Dialer: func(ctx context.Context, _, addr string) (net.Conn, error) {
			c, err := dial(ctx, addr)
			if err != nil {
				return nil, dialError{err}
			}
			return c, nil
		},
	}
}

// pauseAfterError keeps a writer without a rate from spinning on a store that refuses immediately.
const pauseAfterError = 10 * time.Millisecond

func (w *Writer) run(ctx context.Context, connection int) {
	pace := func() {}
	if w.opt.Rate > 0 {
		t := time.NewTicker(max(time.Second*time.Duration(w.opt.Connections)/time.Duration(w.opt.Rate), time.Microsecond))
		defer t.Stop()
		pace = func() {
			select {
			case <-t.C:
			case <-ctx.Done():
			}
		}
	}
	for turn := connection; ; turn++ {
		if pace(); ctx.Err() != nil {
			return
		}
		if !w.once(connection, w.opt.Kinds[turn%len(w.opt.Kinds)]) && w.opt.Rate <= 0 {
			Sleep(ctx, pauseAfterError)
		}
	}
}

// once does one write. Stop does not cancel it, since that would needlessly make its outcome unknown; its timeout bounds it.
func (w *Writer) once(connection int, kind Kind) bool {
	ctx, cancel := context.WithTimeout(context.Background(), w.opt.Timeout)
	defer cancel()
	one, c := w.journal.begin(connection, kind, time.Now()), w.clients[connection]
	var count int64
	var err error
	switch kind {
	case Overwrite, Unique:
		err = c.Set(ctx, one.key.name, value(w.opt.ID, one.number), 0).Err()
	case Count:
		count, err = c.Incr(ctx, one.key.name).Result()
	}
	o := Judge(err)
	w.journal.end(one, o, count, err, time.Now())
	return o == Acknowledged
}

// Stats are a Writer's counts and its worst gap in a window.
type Stats struct {
	Tally
	Gap Gap `json:"gap"`
	// LastAcknowledged is when the newest acknowledgement arrived.
	LastAcknowledged time.Time `json:"lastAcknowledged"`
}

// Stats returns the counts of all writes so far. Gap is the worst gap after since.
func (w *Writer) Stats(since time.Time) Stats {
	w.journal.mu.Lock()
	defer w.journal.mu.Unlock()
	return Stats{Tally: w.journal.tally, Gap: w.journal.gaps.Worst(since, time.Now()), LastAcknowledged: w.journal.gaps.Last()}
}

// Stop ends the writing, waits for the writes in flight (bounded by their timeout) and closes the connections.
func (w *Writer) Stop() {
	w.stop()
	w.done.Wait()
	w.close()
}

func (w *Writer) close() {
	for _, c := range w.clients {
		c.Close()
	}
}

// Sleep waits for d, or until ctx ends.
func Sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
