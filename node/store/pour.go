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

// await waits until there is room for another batch, or ctx has ended: pouring may be slower than applying. mu is held, and given back
// meanwhile.
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

// crowded tells whether there is no room for another batch: who pours may need a moment to begin. mu is held.
func (r *recent) crowded() bool { return r.gens.Load().young.bytes >= r.budget*5/4 }

// full tells whether the younger generation is to be poured into the database; mu is held.
func (r *recent) full() bool { return r.gens.Load().young.bytes >= r.budget }

// turn begins a new generation and returns the one before it, which does not grow any more, and what the state is with it; nil when
// there is nothing to pour. The one before that has been poured.
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

// pour puts everything that is applied into the database. One goroutine does at a time, others wait for it.
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

// settled tells whether the database holds everything that a read which ended before this call can have seen.
func (m *Machine) settled() bool { return *m.ceiling.Load() == *m.poured.Load() }

// settleWithin is how long who reads the whole state waits for what was written last to get to the database: where that has no room to
// write, it takes until it has.
const settleWithin = 5 * time.Second

var errUnsettled = errors.New("the database does not take what was written last, as when its volume is full: keys cannot be listed")

// settling is the pour that readers wait for; one at a time, however many they are.
type settling struct {
	mu   sync.Mutex // a leaf
	pour *poured    // that is under way; nil: none
}

type poured struct {
	done chan struct{}
	err  error // once done is closed
}

// settle is pour for readers, who do not wait for ever.
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

// pourSoon returns the pour that is under way for readers, which may have begun too early for the caller, or begins one.
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

// pourInside is pour for who is not inside the gate.
func (m *Machine) pourInside() error {
	if !m.gate.enter() {
		return ErrClosed
	}
	defer m.gate.leave()
	return m.pour()
}

// fail ends pouring for good: what is in the generations stays readable, and nothing more is applied.
func (r *recent) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = errors.Join(r.err, err)
	r.room.Broadcast()
}

// drop forgets the older generation, which the database holds now.
func (r *recent) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.gens.Load()
	r.gens.Store(&generations{young: before.young, poured: before.old.newest})
	r.indexed.Store(len(before.young.expiries) > 0)
	r.room.Broadcast()
}

// pourOut writes one generation as one batch, sorted: a batch of half a memtable's size becomes a table without having been in one.
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
	// Where nobody reads, as on most followers, rows only cost time. What was read from g is not told from the rest: it costs little.
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

// sorted is a key of a generation at its place in the order of data keys.
type sorted struct {
	point point
	row   uint64 // its hash among the rows
	hash  uint64 // and here
	place uint64 // of its newest effect
	size  int    // in a batch, in bytes
}

// stagedOverhead is what a batch has for an effect beside key and value: kind, two lengths, and the prefix of a data key.
const stagedOverhead = 1 + 2*binary.MaxVarintLen32 + dataPrefixSize

// yieldEvery is after how many keys whoever pours lets others run: nobody waits for it, and a processor may be all there is.
const yieldEvery = 512

// sorted returns every key in the order of data keys, and about how many bytes their newest effects take in a batch.
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

// newest appends the newest effect after flushed on each key of one hash; as a rule there is one such key.
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
