package nodeclient

import (
	"context"
	"maps"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Back-off of a broken stream. It is short, because a broken stream is the very news that matters most.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 2 * time.Second
)

// Watcher keeps one status stream to every member of every store that it is told about. It wakes a store when something
// changed that a decision may depend on, or when a stream has gone quiet. It keeps no statuses: whoever is woken asks again.
// It remembers only when each member was last heard.
type Watcher struct {
	client Client
	quiet  time.Duration
	wake   func(store types.NamespacedName)

	mu     sync.Mutex
	base   context.Context // of all streams; nil before Start
	stores map[types.NamespacedName]map[string]*stream
}

// stream is the status stream of one member.
type stream struct {
	to     Target
	cancel context.CancelFunc // nil until running
	heard  atomic.Int64       // when it was last heard, in nanoseconds since begun; 0: never
}

// begun is the origin of the times in stream.heard: some moment in this process, on its monotonic clock.
var begun = time.Now().Add(-time.Nanosecond)

// NewWatcher returns a Watcher that calls wake from its own goroutines; wake must not block for long. A stream that is
// silent for quiet wakes its store.
func NewWatcher(c Client, quiet time.Duration, wake func(store types.NamespacedName)) *Watcher {
	return &Watcher{client: c, quiet: quiet, wake: wake, stores: map[types.NamespacedName]map[string]*stream{}}
}

// NeedLeaderElection returns false: an operator on standby watches too.
func (w *Watcher) NeedLeaderElection() bool { return false }

// Heard returns when a member's stream last said something; the zero time if it never did.
func (w *Watcher) Heard(store types.NamespacedName, member string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stores[store][member]
	if s == nil || s.heard.Load() == 0 {
		return time.Time{}
	}
	return begun.Add(time.Duration(s.heard.Load()))
}

// Start runs the streams until ctx ends (a controller-runtime Runnable).
func (w *Watcher) Start(ctx context.Context) error {
	w.mu.Lock()
	w.base = ctx
	for store, streams := range w.stores {
		for _, s := range streams {
			w.run(store, s)
		}
	}
	w.mu.Unlock()
	<-ctx.Done()
	return nil
}

// Set sets the members of a store, by name, and their control ports. Streams of other members end; a member whose address
// changed gets a new stream. An empty map forgets the store.
func (w *Watcher) Set(store types.NamespacedName, members map[string]Target) {
	w.mu.Lock()
	defer w.mu.Unlock()
	have := w.stores[store]
	for member, s := range have {
		if members[member] != s.to {
			s.stop()
			delete(have, member)
		}
	}
	if len(members) == 0 {
		delete(w.stores, store)
		return
	}
	if have == nil {
		have = map[string]*stream{}
		w.stores[store] = have
	}
	for member, to := range maps.All(members) {
		if have[member] == nil {
			s := &stream{to: to}
			have[member] = s
			w.run(store, s)
		}
	}
}

func (s *stream) stop() {
	if s.cancel != nil {
		s.cancel()
	}
}

// run starts the goroutine of s. w.mu is held.
func (w *Watcher) run(store types.NamespacedName, s *stream) {
	if w.base == nil || s.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(w.base)
	s.cancel = cancel
	go w.follow(ctx, store, s)
}

// follow reads the stream, reconnecting until ctx ends. It wakes the store when something that matters changed, and when the
// stream goes quiet or breaks after it had worked. A member that never answers wakes nobody.
func (w *Watcher) follow(ctx context.Context, store types.NamespacedName, st *stream) {
	backoff := minBackoff
	for ctx.Err() == nil {
		var last *wire.Status
		ours := false
		quiet := time.AfterFunc(time.Hour, func() { w.wake(store) })
		quiet.Stop()
		_ = w.client.Watch(ctx, st.to, func(s *wire.Status) {
			if s != nil {
				ours = st.to.Is(*s) && s.Store == store.Name
			}
			if !ours {
				return // somebody else has the address now
			}
			st.heard.Store(int64(time.Since(begun)))
			quiet.Reset(w.quiet)
			backoff = minBackoff
			if s == nil {
				return
			}
			told := s.Essence()
			if last == nil || !reflect.DeepEqual(*last, told) {
				w.wake(store)
			}
			last = &told
		})
		quiet.Stop()
		if ctx.Err() != nil {
			return
		}
		if last != nil {
			w.wake(store)
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff/2 + rand.N(backoff)):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}
