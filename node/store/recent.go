package store

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
)

// recent holds what was applied but is not in the database yet. A write to it costs one hash table lookup, where the
// database's memtable, a skip list, costs a search with some twelve cache misses. Of keys that are overwritten, only the
// newest value reaches the database, sorted, as a rule in pieces so large that they bypass its memtable.
//
// There are two generations: a young one that grows and, while it is being poured into the database, an old one. Readers
// look into the young one, the old one and the database, in this order.
//
// Every effect has a number, its version. Readers see the versions up to visible, which advances by whole batches.
// Nothing is ever changed in place: a reader that has noted visible and the generations sees the same state for as long
// as it likes.
type recent struct {
	// mu is held while a batch is added, and while a generation replaces another.
	mu      sync.Mutex
	room    sync.Cond // signalled when a new generation begins, a waiter's context ends, or pouring ends for good
	last    uint64    // the last version assigned; guarded by mu
	visible atomic.Uint64
	gens    atomic.Pointer[generations] // replaced under mu, never changed
	budget  int64                       // of each generation, in bytes
	seed    maphash.Seed                // so that nobody can choose keys that collide
	// indexed is set while a generation has effects on the expiry index: the database alone cannot tell then what is due.
	indexed atomic.Bool
	err     error // why nothing can be poured any more; guarded by mu
}

// hash returns the hash by which keys are found here.
func (r *recent) hash(key []byte) uint64 { return maphash.Bytes(r.seed, key) }

// generations are the young one, which grows, and the old one, which may be nil.
type generations struct {
	young, old *generation
	poured     uint64 // the newest version that only the database has; later ones are in young or old
}

const recentShards = 64

// generation is a hash table of the newest effect on each key. Effects on keys with the same hash are linked, newest
// first.
type generation struct {
	shards [recentShards]recentShard
	expect int // expected keys in each shard
	chunk  int // largest size of a chunk, in bytes
	seen   atomic.Pointer[bitmap]
	read   atomic.Bool // a reader has found something here
	// flushes are the versions of effects that removed every key; rarely any.
	flushes atomic.Pointer[[]uint64]
	// For the writer, and for whoever pours once there is no writer any more.
	bytes    int64
	newest   uint64          // the newest version, once the generation has stopped growing
	hashes   int             // of keys
	expiries map[string]bool // effects on the expiry index, by index key: whether the key is put
}

type recentShard struct {
	mu     sync.Mutex        // a leaf; guards what follows, but not the bytes in chunks, which do not change once index leads to them
	index  map[uint64]uint64 // hash of a key -> place of the newest effect on a key of that hash
	chunks [][]byte
	open   int // index of the chunk with room
}

const (
	// leastChunk is the size of a shard's first chunk. Each further chunk is twice as large as the previous one.
	leastChunk = 1 << 10
	// effectHeader is the size of an effect's header in a chunk: version u64 | place of the previous effect, plus one,
	// u64 | length of the key u32 | length of the stored value, plus one, u32; 0: the key is deleted.
	effectHeader = 8 + 8 + 4 + 4
	// effectOverhead is what an effect costs besides its bytes.
	effectOverhead = effectHeader + 24
)

// newRecent returns a recent with generations of about budget bytes.
func newRecent(budget int64) *recent {
	r := &recent{budget: budget, seed: maphash.MakeSeed()}
	r.room.L = &r.mu
	r.gens.Store(&generations{young: newGeneration(budget, 0)})
	return r
}

// newGeneration returns a generation that expects about that many keys in each shard. Its chunks start small, because
// listing keys while there are writes creates many generations.
func newGeneration(budget int64, expect int) *generation {
	g := &generation{expect: expect, chunk: int(max(budget/(4*recentShards), leastChunk)), expiries: map[string]bool{}}
	g.seen.Store(newBitmap(expect * recentShards))
	return g
}

// bitmap has the bit of every hash in a generation set, and few others. It fits a processor's cache; the table does not.
// Its length is a power of two.
type bitmap []atomic.Uint64

// bitsPerKey is the minimum number of bits per key.
const bitsPerKey = 8

func newBitmap(keys int) *bitmap {
	b := make(bitmap, max(1<<7, 1<<bits.Len(uint(keys*bitsPerKey/64))))
	return &b
}

func (b *bitmap) set(hash uint64)      { (*b)[b.word(hash)].Or(1 << (hash & 63)) }
func (b *bitmap) has(hash uint64) bool { return (*b)[b.word(hash)].Load()>>(hash&63)&1 == 1 }
func (b *bitmap) word(hash uint64) int { return int(hash >> 6 & uint64(len(*b)-1)) }

// mark sets the bit of a hash that is new here, and enlarges the bitmap if need be. The caller does not hold the shard's
// lock.
func (g *generation) mark(hash uint64) {
	b := g.seen.Load()
	if g.hashes++; g.hashes*bitsPerKey > 64*len(*b) {
		b = newBitmap(8 * g.hashes)
		for i := range g.shards {
			for h := range g.shards[i].index {
				b.set(h)
			}
		}
		g.seen.Store(b)
	}
	b.set(hash)
}

func (g *generation) shard(hash uint64) *recentShard { return &g.shards[hash>>(64-6)] }

// put records the new value of a key with the given hash, or, if not present, its deletion. mu is held.
func (r *recent) put(hash uint64, key []byte, v Value, present bool) {
	g := r.begin()
	s := g.shard(hash)
	size := 0
	if present {
		size = valueHeaderSize + len(v.Data)
	}
	n := effectHeader + len(key) + size
	before, any := s.index[hash] // there is no other writer
	if !any {
		g.mark(hash)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index == nil {
		s.index = make(map[uint64]uint64, g.expect)
	}
	at, b := s.take(n, g.chunk)
	binary.LittleEndian.PutUint64(b, r.last)
	if any {
		binary.LittleEndian.PutUint64(b[8:], before+1)
	}
	binary.LittleEndian.PutUint32(b[16:], uint32(len(key)))
	copy(b[effectHeader:], key)
	if present {
		binary.LittleEndian.PutUint32(b[20:], uint32(size+1))
		raw := b[effectHeader+len(key):]
		putValueHeader(raw, v)
		copy(raw[valueHeaderSize:], v.Data)
	}
	s.index[hash] = at
	g.bytes += int64(len(key)+size) + effectOverhead
}

// flush records that every key was removed; mu is held.
func (r *recent) flush() {
	g := r.begin()
	var all []uint64
	if before := g.flushes.Load(); before != nil {
		all = *before
	}
	all = append(all, r.last) // readers only use the length that they have loaded
	g.flushes.Store(&all)
	clear(g.expiries)
	g.bytes += effectOverhead
}

// index records that an entry of the expiry index was put or removed; mu is held.
func (r *recent) index(expireAt int64, key []byte, put bool) {
	g := r.begin()
	raw := make([]byte, expiryPrefixSize+len(key))
	putExpiryKey(raw, expireAt, key)
	g.expiries[string(raw)] = put
	g.bytes += int64(len(raw)) + effectOverhead
	r.indexed.Store(true)
}

// begin assigns the next version, and returns the generation that its effect goes to.
func (r *recent) begin() *generation {
	r.last++
	return r.gens.Load().young
}

// take allocates n bytes. A place is chunk<<32 | offset. A large effect gets a chunk of its own, so that no large part of
// a chunk stays unused.
func (s *recentShard) take(n, most int) (at uint64, b []byte) {
	if n > most/4 {
		s.chunks = append(s.chunks, make([]byte, n))
		last := len(s.chunks) - 1
		return uint64(last) << 32, s.chunks[last]
	}
	if len(s.chunks) == 0 || cap(s.chunks[s.open])-len(s.chunks[s.open]) < n {
		s.chunks = append(s.chunks, make([]byte, 0, max(n, min(leastChunk<<min(len(s.chunks), 16), most))))
		s.open = len(s.chunks) - 1
	}
	c := s.chunks[s.open]
	from := len(c)
	s.chunks[s.open] = c[:from+n]
	return uint64(s.open)<<32 | uint64(from), s.chunks[s.open][from : from+n : from+n]
}

// recorded is one effect as stored.
type recorded struct {
	version uint64
	before  uint64 // place of the previous effect, plus one; 0: none
	key     []byte
	raw     []byte // the stored value; nil: the key is deleted
}

// at decodes the effect at a place; s.mu is held, or the generation has stopped growing.
func (s *recentShard) at(place uint64) recorded {
	b := s.chunks[place>>32][uint32(place):]
	k, v := int(binary.LittleEndian.Uint32(b[16:])), int(binary.LittleEndian.Uint32(b[20:]))
	out := recorded{
		version: binary.LittleEndian.Uint64(b), before: binary.LittleEndian.Uint64(b[8:]),
		key: b[effectHeader : effectHeader+k : effectHeader+k],
	}
	if v > 0 {
		end := effectHeader + k + v - 1
		out.raw = b[effectHeader+k : end : end]
	}
	return out
}

// find returns the stored value of key as of a version; nil if the key is deleted. known is false if nothing in this
// generation decides it.
func (g *generation) find(hash uint64, key []byte, version uint64) (raw []byte, known bool) {
	flushed := g.flushedBefore(version)
	if !g.seen.Load().has(hash) {
		return nil, flushed > 0
	}
	s := g.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	place, any := s.index[hash]
	for any {
		e := s.at(place)
		if e.version <= flushed {
			break
		}
		if e.version <= version && string(e.key) == string(key) {
			if !g.read.Load() {
				g.read.Store(true)
			}
			return e.raw, true
		}
		place, any = e.before-1, e.before > 0
	}
	return nil, flushed > 0
}

// flushedBefore returns the version of the newest flush at or before version; 0 if there is none.
func (g *generation) flushedBefore(version uint64) uint64 {
	all := g.flushes.Load()
	if all == nil {
		return 0
	}
	for _, f := range slices.Backward(*all) {
		if f <= version {
			return f
		}
	}
	return 0
}

// moment is the state applied at one time, as far as it was not in the database then.
type moment struct {
	version uint64
	*generations
}

// now returns the state applied now. What is not found in it is in a database that is read afterwards, or the database
// has a later version.
func (r *recent) now() moment {
	version := r.visible.Load()
	return moment{version, r.gens.Load()}
}

// find returns the stored value of key; nil if the key is deleted. known is false if the database decides.
func (m moment) find(hash uint64, key []byte) (raw []byte, known bool) {
	if raw, known = m.young.find(hash, key, m.version); !known && m.old != nil {
		raw, known = m.old.find(hash, key, m.version)
	}
	return raw, known
}
