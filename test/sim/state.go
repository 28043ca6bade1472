package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// registers is a member's state machine: a few registers in one file beside the log. It implements role.State in place of Pebble,
// whose own goroutines would make a schedule unrepeatable.
type registers struct {
	fs      vfs.FS
	dir     string
	values  map[byte]uint64
	mark    replication.Mark
	time    int64
	durable replication.Mark
}

const stateFile = "STATE"

func openRegisters(fs vfs.FS, dir string) (*registers, error) {
	s := &registers{fs: fs, dir: dir, values: map[byte]uint64{}}
	if err := durable.MkdirAll(fs, dir); err != nil {
		return nil, err
	}
	b, err := durable.ReadFile(fs, fs.PathJoin(dir, stateFile), 1<<20)
	if durable.IsNotExist(err) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	if err := s.decode(b); err != nil {
		return nil, err
	}
	// After a failed sync, what can be read need not be on the disk. So write it anew, as Pebble writes a new MANIFEST.
	_, err = s.Flush(context.Background())
	return s, err
}

func (s *registers) encode() []byte {
	le := binary.LittleEndian
	b := le.AppendUint64(nil, uint64(s.mark.Epoch))
	b = le.AppendUint64(b, uint64(s.mark.Position))
	b = le.AppendUint32(b, uint32(s.mark.Chain))
	b = le.AppendUint64(b, uint64(s.time))
	for _, k := range slices.Sorted(maps.Keys(s.values)) {
		b = le.AppendUint64(append(b, k), s.values[k])
	}
	return b
}

func (s *registers) decode(b []byte) error {
	le := binary.LittleEndian
	if len(b) < 28 || (len(b)-28)%9 != 0 {
		return fmt.Errorf("state file of %d bytes", len(b))
	}
	s.mark = replication.Mark{
		Epoch: replication.Epoch(le.Uint64(b)), Position: replication.Position(le.Uint64(b[8:])), Chain: replication.Chain(le.Uint32(b[16:])),
	}
	s.time, s.durable = int64(le.Uint64(b[20:])), s.mark
	for b = b[28:]; len(b) > 0; b = b[9:] {
		s.values[b[0]] = le.Uint64(b[1:])
	}
	return nil
}

func (s *registers) Applied() replication.Mark { return s.mark }
func (s *registers) AppliedTime() int64        { return s.time }
func (s *registers) Durable() replication.Mark { return s.durable }
func (s *registers) Close() error              { return nil }

// ApplyUntil checks, as the real one does, that records are consecutive. It never waits.
func (s *registers) ApplyUntil(_ context.Context, recs []replication.Record) error {
	for i := range recs {
		rec := &recs[i]
		if err := rec.Follows(s.mark); err != nil {
			return fmt.Errorf("apply after %v: %w", s.mark, err)
		}
		if rec.Type == replication.RecordData {
			for _, entry := range rec.Entries() {
				s.values[entry[0]] = binary.LittleEndian.Uint64(entry[1:entrySize])
			}
		}
		s.mark, s.time = rec.Mark(), rec.UnixMilli
	}
	return nil
}

func (s *registers) Flush(context.Context) (replication.Mark, error) {
	if err := durable.WriteFile(s.fs, s.dir, stateFile, s.encode()); err != nil {
		return s.durable, err
	}
	s.durable = s.mark
	return s.durable, nil
}

// Reclaim has nothing to reclaim: there is only one file.
func (s *registers) Reclaim() error { return nil }
func (s *registers) GiveUp()        {}

func (s *registers) Checkpoint(dir string) (replication.Mark, error) {
	if err := durable.MkdirAll(s.fs, dir); err != nil {
		return replication.Mark{}, err
	}
	// The file is larger than necessary, so that a transfer takes a while and can break in the middle.
	if err := durable.WriteFile(s.fs, dir, "padding", make([]byte, 64<<10)); err != nil {
		return replication.Mark{}, err
	}
	return s.mark, durable.WriteFile(s.fs, dir, stateFile, s.encode())
}

// entrySize is the size of one entry in bytes: a key and its new value.
const entrySize = 1 + 8

// sequencer is a leader's queue of writes. It implements role.Sequencer in place of the store's, whose waiters are goroutines.
type sequencer struct {
	state *registers
	clock func() int64
	pad   int // extra bytes per entry
	now   int64

	err     error // why it was closed
	held    bool
	epoch   replication.Epoch
	taken   replication.Position
	tail    replication.Position
	queue   [][]byte // entries not taken yet
	waiters []*commitWait
}

// commitWait is a client's pending write.
type commitWait struct {
	at      replication.Position
	settled Signal
	done    bool
	ok      bool // applied; if false, the outcome is unknown
}

func newSequencer(s *registers, clock func() int64, pad int) *sequencer {
	return &sequencer{state: s, clock: clock, pad: pad, err: errClosed}
}

func (q *sequencer) Open(e replication.Epoch, next replication.Position) error {
	if at := q.state.mark.Position; at+1 != next || q.err == nil || e <= q.epoch {
		return fmt.Errorf("open in epoch %d at %d: applied %d, epoch before %d", e, next, at, q.epoch)
	}
	q.err, q.held, q.epoch, q.taken, q.tail = nil, false, e, next, next-1
	return nil
}

func (q *sequencer) Close(why error) {
	q.err, q.held, q.queue = why, false, nil
	q.taken = q.tail + 1
	for _, w := range q.waiters {
		w.settle(false)
	}
	q.waiters = nil
}

func (q *sequencer) Hold() replication.Position {
	q.held = q.err == nil
	return q.tail
}

func (q *sequencer) Release() { q.held = false }

func (q *sequencer) Now() int64 {
	q.now = max(q.now, q.clock(), q.state.time)
	return q.now
}

func (q *sequencer) Take(maxBytes int) (replication.Position, int, []byte) {
	first, n := q.taken, min(len(q.queue), max(1, maxBytes/(entrySize+q.pad+2)), maxEntries)
	var payload []byte
	for _, e := range q.queue[:n] {
		payload = append(binary.AppendUvarint(payload, uint64(len(e))), e...)
	}
	q.queue = q.queue[n:]
	q.taken += replication.Position(n)
	return first, n, payload
}

// maxEntries bounds the entries of a record, so that there are many records.
const maxEntries = 3

// put queues a write. It returns nil if the write is refused, which then has no effect.
func (q *sequencer) put(key byte, value uint64) *commitWait {
	if q.err != nil || q.held {
		return nil
	}
	q.tail++
	entry := make([]byte, 1, entrySize+q.pad)
	entry[0] = key
	q.queue = append(q.queue, binary.LittleEndian.AppendUint64(entry, value)[:entrySize+q.pad])
	w := &commitWait{at: q.tail}
	q.waiters = append(q.waiters, w)
	return w
}

// applied settles the writes up to p.
func (q *sequencer) applied(p replication.Position) {
	if q.err != nil {
		return
	}
	n := 0
	for n < len(q.waiters) && q.waiters[n].at <= p {
		q.waiters[n].settle(true)
		n++
	}
	q.waiters = q.waiters[n:]
}

func (w *commitWait) settle(ok bool) {
	w.done, w.ok = true, ok
	w.settled.Fire()
}
