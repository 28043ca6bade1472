package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// await waits until there is room for another batch, or ctx ends: pouring may be slower than applying. mu is held, and is
// released while await waits.
func (r *recent) await(ctx context.Context) error {
	if !r.crowded() {
		return r.err
	}
	defer context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.room.Broadcast()
	})()
	for r.crowded() && r.err == nil && ctx.Err() == nil {
		r.room.Wait()
	}
	if r.crowded() && r.err == nil {
		return context.Cause(ctx)
	}
	return r.err
}

// crowded reports whether there is no room for another batch. It allows for some excess, because pouring may need a
// moment to begin. mu is held.
func (r *recent) crowded() bool { return r.gens.Load().young.bytes >= r.budget*5/4 }

// full reports whether the young generation should be poured into the database; mu is held.
func (r *recent) full() bool { return r.gens.Load().young.bytes >= r.budget }

// turn begins a new generation. It returns the previous one, which does not grow any more, and the applied state that it
// completes; nil if there is nothing to pour. The one before that has been poured already.
func (m *Machine) turn() (*generation, applied, error) {
	r := m.recent
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, applied{}, r.err
	}
	before := r.gens.Load()
	g := before.young
	if m.settled() {
		return nil, applied{}, nil
	}
	expect := 0
	if r.full() {
		expect = len(g.shards[0].index)
	}
	g.newest = r.last
	r.gens.Store(&generations{young: newGeneration(r.budget, expect), old: g, poured: before.poured})
	r.room.Broadcast()
	return g, *m.applied.Load(), nil
}

// pour writes everything that is applied to the database. Only one goroutine pours at a time; others wait for it.
func (m *Machine) pour() error {
	m.pourMu.Lock()
	defer m.pourMu.Unlock()
	g, to, err := m.turn()
	if err != nil || g == nil {
		return err
	}
	if err := m.pourOut(g, to); err != nil {
		err = fmt.Errorf("write up to %v to the database: %w", to.mark, err)
		m.recent.fail(err)
		return err
	}
	m.poured.Store(&to)
	m.recent.drop()
	return nil
}

// settled reports whether the database holds everything that a read which ended before this call can have seen.
func (m *Machine) settled() bool { return *m.ceiling.Load() == *m.poured.Load() }

// settleWithin is how long a reader of the whole state waits for the latest writes to reach the database. A database
// without room takes them only once it has room.
const settleWithin = 5 * time.Second

var errUnsettled = errors.New("the database does not accept the latest writes, for example because its volume is full: keys cannot be listed")

// settling is the pour that readers wait for. There is one at a time, however many readers there are.
type settling struct {
	mu   sync.Mutex // a leaf
	pour *poured    // the one under way; nil: none
}

type poured struct {
	done chan struct{}
	err  error // valid once done is closed
}

// settle is pour for readers, who do not wait forever.
func (m *Machine) settle() error {
	want := m.ceiling.Load().mark
	late := time.NewTimer(m.settleWithin)
	defer late.Stop()
	for !m.settled() && m.poured.Load().mark.Compare(want) < 0 {
		p := m.pourSoon()
		select {
		case <-p.done:
		case <-late.C:
			return errUnsettled
		}
		if p.err != nil {
			return p.err
		}
	}
	return nil
}

// pourSoon returns the pour that is under way for readers, which may have begun too early for the caller, or starts one.
func (m *Machine) pourSoon() *poured {
	s := &m.settling
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pour != nil {
		return s.pour
	}
	p := &poured{done: make(chan struct{})}
	s.pour = p
	go func() {
		p.err = m.pourInside()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pour = nil
		close(p.done)
	}()
	return p
}

// pourInside is pour for callers that are not inside the gate.
func (m *Machine) pourInside() error {
	if !m.gate.enter() {
		return ErrClosed
	}
	defer m.gate.leave()
	return m.pour()
}

// fail ends pouring for good: the generations stay readable, and nothing more is applied.
func (r *recent) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = errors.Join(r.err, err)
	r.room.Broadcast()
}

// drop forgets the old generation, which the database now holds.
func (r *recent) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.gens.Load()
	r.gens.Store(&generations{young: before.young, poured: before.old.newest})
	r.indexed.Store(len(before.young.expiries) > 0)
	r.room.Broadcast()
}

// pourOut writes one generation as one sorted batch. Pebble turns a batch of at least half a memtable's size into a table
// without inserting it into a memtable.
func (m *Machine) pourOut(g *generation, to applied) error {
	m.queueMu.Lock()
	defer m.queueMu.Unlock()
	if err := m.admit(); err != nil {
		return err
	}
	keys, size := g.sorted()
	b := m.db.NewBatchWithSize(size + 1024)
	defer b.Close()
	if g.flushes.Load() != nil {
		for _, space := range []byte{spaceData, spaceExpiry, spaceMembers} {
			lower, upper := spaceBounds(space)
			if err := b.DeleteRange(lower, upper, nil); err != nil {
				return err
			}
		}
	}
	if err := g.stage(b, keys); err != nil {
		return err
	}
	if err := g.stageExpiries(b); err != nil {
		return err
	}
	if err := b.Set(appliedKey, to.append(nil), nil); err != nil {
		return err
	}
	m.rows.change()
	defer m.rows.done()
	if g.flushes.Load() != nil {
		m.rows.removeAll()
	}
	// Where nobody reads, as on most followers, rows only cost time. If anything was read from g, all of its keys become
	// rows: telling them apart is not worth it.
	read := keys[:0]
	for _, k := range keys {
		if m.rows.remove(k.row) || g.read.Load() {
			read = append(read, k)
		}
	}
	if err := m.commit(b); err != nil {
		return err
	}
	for i, k := range read {
		if i%yieldEvery == 0 {
			runtime.Gosched()
		}
		e := g.shard(k.hash).at(k.place)
		m.rows.renew(k.row, e.key, e.raw)
	}
	return nil
}

// sorted is a key of a generation, as sorted in the order of data keys.
type sorted struct {
	point point
	row   uint64 // its hash in rows
	hash  uint64 // its hash in the generation
	place uint64 // of its newest effect
	size  int    // size in a batch, in bytes
}

// stagedOverhead is what a batch needs for an effect besides key and value: kind, two lengths, and the prefix of a data
// key.
const stagedOverhead = 1 + 2*binary.MaxVarintLen32 + dataPrefixSize

// yieldEvery is after how many keys pouring yields the processor: nobody waits for it, and there may be only one
// processor.
const yieldEvery = 512

// sorted returns every key in the order of data keys, and roughly how many bytes their newest effects take in a batch.
func (g *generation) sorted() (keys []sorted, size int) {
	flushed := g.flushedBefore(^uint64(0))
	for i := range g.shards {
		s := &g.shards[i]
		for hash, place := range s.index {
			keys = s.newest(hash, place, flushed, keys)
		}
		runtime.Gosched()
	}
	slices.SortFunc(keys, func(a, b sorted) int {
		if c := cmp.Compare(a.point, b.point); c != 0 {
			return c
		}
		return bytes.Compare(g.shard(a.hash).at(a.place).key, g.shard(b.hash).at(b.place).key)
	})
	for _, k := range keys {
		size += k.size
	}
	return keys, size
}

// stage adds the newest effect on each of keys to b.
func (g *generation) stage(b *pebble.Batch, keys []sorted) error {
	for i, k := range keys {
		if i%yieldEvery == 0 {
			runtime.Gosched()
		}
		if err := stageRecorded(b, k.point, g.shard(k.hash).at(k.place)); err != nil {
			return err
		}
	}
	return nil
}

// newest appends, for each key with this hash, its newest effect after flushed. Usually there is one such key.
func (s *recentShard) newest(hash, place, flushed uint64, keys []sorted) []sorted {
	from := len(keys)
	for any := true; any; {
		e := s.at(place)
		if e.version <= flushed {
			break
		}
		if !slices.ContainsFunc(keys[from:], func(k sorted) bool { return string(s.at(k.place).key) == string(e.key) }) {
			row := hashOf(e.key)
			size := stagedOverhead + len(e.key) + len(e.raw)
			keys = append(keys, sorted{pointAt(Slot(e.key), row), row, hash, place, size})
		}
		place, any = e.before-1, e.before > 0
	}
	return keys
}

func stageRecorded(b *pebble.Batch, at point, e recorded) error {
	if e.raw == nil {
		d := b.DeleteDeferred(dataPrefixSize + len(e.key))
		at.putDataKey(d.Key, e.key)
		return d.Finish()
	}
	d := b.SetDeferred(dataPrefixSize+len(e.key), len(e.raw))
	at.putDataKey(d.Key, e.key)
	copy(d.Value, e.raw)
	return d.Finish()
}

func (g *generation) stageExpiries(b *pebble.Batch) error {
	keys := make([]string, 0, len(g.expiries))
	for key := range g.expiries {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		var err error
		if g.expiries[key] {
			err = b.Set([]byte(key), nil, nil)
		} else {
			err = b.Delete([]byte(key), nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pourLoop pours whenever a generation is full.
func (m *Machine) pourLoop() {
	defer close(m.pouringEnded)
	for range m.filled {
		switch err := m.pourInside(); {
		case errors.Is(err, ErrClosed):
			return
		case err != nil:
			m.opt.OnError(err)
		}
	}
}
