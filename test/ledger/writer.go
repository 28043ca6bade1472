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

// Options of a Writer.
type Options struct {
	// ID names the writer in keys and values; no two writers of one store may share it.
	ID string `json:"id"`
	// Address of the leader, host:port, usually a Service that follows it.
	Address     string `json:"address"`
	Connections int    `json:"connections"` // default 8
	Slots       int    `json:"slots"`       // Overwrite keys of each connection; default 64
	Kinds       []Kind `json:"kinds"`       // default all, in turn
	// Rate is in writes per second over all connections; 0 is as fast as they go.
	Rate int `json:"rate"`
	// Timeout of one write, and of making one connection; default 2 s. After it, the outcome is unknown.
	Timeout time.Duration `json:"timeout"`
	// Password is given by every connection, also those of Verify; "": none is.
	Password string `json:"password,omitempty"`
	// Dial makes connections, also those of Verify; nil is TCP.
	Dial Dial `json:"-"`
	// Now is the clock; nil is the machine's.
	Now func() time.Time `json:"-"`
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
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Writer writes from several connections until it is stopped.
type Writer struct {
	opt     Options
	journal *journal
	clients []*redis.Client
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// Start opens every connection, so that they are there before any fault, and begins to write. It tries until ctx ends, since
// a Service that is ready may still be a moment away from leading there; afterwards ctx means nothing to the writer.
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

// ClientOptions are those of one client with one connection that neither retries nor hides what happens to it.
func ClientOptions(address string, timeout time.Duration, dial Dial) *redis.Options {
	if dial == nil {
		dialer := net.Dialer{Timeout: timeout}
		dial = func(ctx context.Context, addr string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", addr) }
	}
	return &redis.Options{
		// One connection at a time is used. After as many refused dials as the pool is large, go-redis pauses a second before the
		// next: that would be measured, and not the store.
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

// pauseAfterError keeps a writer without a rate from spinning on a store that refuses at once.
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

// once does one write. It is not ended by Stop, which would make its outcome unknown for nothing, but by its timeout.
func (w *Writer) once(connection int, kind Kind) bool {
	ctx, cancel := context.WithTimeout(context.Background(), w.opt.Timeout)
	defer cancel()
	one, c := w.journal.begin(connection, kind, w.opt.Now()), w.clients[connection]
	var count int64
	var err error
	switch kind {
	case Overwrite, Unique:
		err = c.Set(ctx, one.key.name, value(w.opt.ID, one.number), 0).Err()
	case Count:
		count, err = c.Incr(ctx, one.key.name).Result()
	}
	o := Judge(err)
	w.journal.end(one, o, count, err, w.opt.Now())
	return o == Acknowledged
}

// Stats are a Writer's counts and its worst gap in a window.
type Stats struct {
	Tally
	Gap Gap `json:"gap"`
	// LastAcknowledged is when the newest acknowledgement arrived.
	LastAcknowledged time.Time `json:"lastAcknowledged"`
}

// Stats counts everything so far; Gap is the worst after since.
func (w *Writer) Stats(since time.Time) Stats {
	w.journal.mu.Lock()
	defer w.journal.mu.Unlock()
	return Stats{Tally: w.journal.tally, Gap: w.journal.gaps.Worst(since, w.opt.Now()), LastAcknowledged: w.journal.gaps.Last()}
}

// Stop ends the writing, waits for the writes under way (bounded by their timeout) and closes the connections.
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
