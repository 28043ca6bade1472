package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/randtest"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

func seeded(t *testing.T) *rand.Rand { return randtest.New(t) }

var smallLog = wal.Options{SegmentBytes: 64 << 10}

// origin is a source with made-up state files.
type origin struct {
	*Source
	fs      *vfs.MemFS
	files   map[string][]byte
	mark    replication.Mark
	epochs  replication.EpochTable
	now     time.Time
	made    int
	pins    map[int]replication.Position
	pinned  int
	pinSeen []replication.Position
}

// applied is how many records an origin applies while it makes a checkpoint.
const applied = 10

func newOrigin(t *testing.T, rng *rand.Rand, sizes ...int) *origin {
	t.Helper()
	o := &origin{
		fs: vfs.NewMem(), files: map[string][]byte{}, mark: replication.Mark{Epoch: 3, Position: 500, Chain: 0xabcd},
		epochs: replication.EpochTable{{Epoch: 1, Start: 1}, {Epoch: 3, Start: 401}},
		now:    time.Unix(1000, 0), pins: map[int]replication.Position{},
	}
	for i, n := range sizes {
		data := make([]byte, n)
		for j := range data {
			data[j] = byte(rng.Uint32())
		}
		o.files[fmt.Sprintf("%06d.sst", i)] = data
	}
	var err error
	o.Source, err = NewSource(SourceOptions{
		FS: o.fs, Dir: "checkpoints", Store: "orders", Checkpoint: o.checkpoint, Pin: o.pin, Now: func() time.Time { return o.now },
		Hold: func() func() { return o.pin(o.mark.Position - applied) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *origin) checkpoint(dir string) (replication.Mark, replication.EpochTable, error) {
	o.made++
	if err := o.fs.MkdirAll(dir, 0o755); err != nil {
		return replication.Mark{}, nil, err
	}
	for name, data := range o.files {
		f, err := o.fs.Create(o.fs.PathJoin(dir, name), "test")
		if err != nil {
			return replication.Mark{}, nil, err
		}
		if _, err := f.Write(bytes.Clone(data)); err != nil {
			return replication.Mark{}, nil, err
		}
		if err := f.Close(); err != nil {
			return replication.Mark{}, nil, err
		}
	}
	return o.mark, o.epochs, nil
}

func (o *origin) pin(from replication.Position) func() {
	o.pinned++
	n := o.pinned
	o.pins[n] = from
	o.pinSeen = append(o.pinSeen, from)
	return func() { delete(o.pins, n) }
}

func openMeta(tb testing.TB, fs vfs.FS) *meta.Store {
	tb.Helper()
	s, err := meta.Open(fs, "data", meta.Options{Store: "orders", Member: "orders-2", Init: func(logDir, _ string) error {
		l, _, err := wal.Open(fs, logDir, wal.Options{Create: true, SegmentBytes: smallLog.SegmentBytes})
		if err != nil {
			return err
		}
		return l.Close()
	}})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func receiveOptions(fs vfs.FS, m *meta.Store) ReceiveOptions {
	at := time.Unix(0, 0)
	return ReceiveOptions{FS: fs, Meta: m, Store: "orders", From: "orders-1", Now: func() time.Time {
		at = at.Add(100 * time.Millisecond)
		return at
	}}
}

// transfer runs one conversation. wrap may interpose on the receiver's end.
func transfer(tb testing.TB, s *Source, o ReceiveOptions, wrap func(io.ReadWriter) io.ReadWriter) (m Manifest, served, received error) {
	tb.Helper()
	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() {
		err := s.Serve(context.Background(), a)
		done <- errors.Join(err, a.Close())
	}()
	rw := io.ReadWriter(b)
	if wrap != nil {
		rw = wrap(b)
	}
	m, received = Receive(context.Background(), rw, o)
	if err := b.Close(); err != nil {
		tb.Fatal(err)
	}
	select {
	case served = <-done:
	case <-time.After(time.Minute):
		tb.Fatal("the source does not end")
	}
	return m, served, received
}

// holds checks that the current generation is that of the origin.
func (o *origin) holds(t *testing.T, fs vfs.FS, store *meta.Store) {
	t.Helper()
	st := store.State()
	dir := store.StateDir(st.Generation)
	names, err := fs.List(dir)
	if err != nil || len(names) != len(o.files) {
		t.Fatalf("state holds %v, %v", names, err)
	}
	for name, want := range o.files {
		f, err := fs.Open(fs.PathJoin(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s differs: %d bytes, want %d, %v", name, len(got), len(want), err)
		}
		_ = f.Close()
	}
	l, _, err := wal.Open(fs, store.LogDir(st.Generation), smallLog)
	if err != nil {
		t.Fatal(err)
	}
	if l.Last() != o.mark || l.First() != o.mark.Position+1 || len(l.Epochs()) != len(o.epochs) {
		t.Fatalf("the log is at %v, first %d, epochs %v", l.Last(), l.First(), l.Epochs())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSeed(t *testing.T) {
	o := newOrigin(t, seeded(t), 0, 1, ChunkBytes, 3*ChunkBytes+17, 100)
	fs := vfs.NewMem()
	store := openMeta(t, fs)
	if err := store.Update(func(s *meta.State) { s.Promises.NeedSeed = true }); err != nil {
		t.Fatal(err)
	}
	opt := receiveOptions(fs, store)
	var last Progress
	opt.Progress = func(p Progress) { last = p }
	m, served, err := transfer(t, o.Source, opt, nil)
	if err != nil || served != nil {
		t.Fatalf("receive: %v, serve: %v", err, served)
	}
	if st := store.State(); st.Generation != 1 || st.Seed == nil || st.Seed.ID != m.ID || st.Seed.Mark != o.mark {
		t.Fatalf("before install: %+v", st)
	}
	if last.Done != m.Total || last.Total != m.Total || last.Left != 0 || last.Rate <= 0 {
		t.Fatalf("last progress %+v of %d bytes", last, m.Total)
	}
	if err := Install(fs, store, m, smallLog); err != nil {
		t.Fatal(err)
	}
	if st := store.State(); st.Generation != 2 || st.Seed != nil || st.Promises.NeedSeed {
		t.Fatalf("after install: %+v", st)
	}
	o.holds(t, fs, store)
	if _, err := fs.Stat(store.LogDir(1)); err == nil {
		t.Fatal("the old log is still there")
	}
}

// cutter ends the connection after a number of bytes were read.
type cutter struct {
	io.ReadWriter
	left int
}

var errCut = errors.New("connection cut")

func (c *cutter) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errCut
	}
	n, err := c.ReadWriter.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func TestResumeAfterBrokenConnections(t *testing.T) {
	rng := seeded(t)
	o := newOrigin(t, rng, 2*ChunkBytes, 3*ChunkBytes+5, 10, ChunkBytes/2)
	fs := vfs.NewMem()
	store := openMeta(t, fs)
	opt := receiveOptions(fs, store)
	var read, tries int
	for {
		tries++
		c := &cutter{left: 1000 + rng.IntN(2*ChunkBytes)}
		budget := c.left
		m, _, err := transfer(t, o.Source, opt, func(rw io.ReadWriter) io.ReadWriter {
			c.ReadWriter = rw
			return c
		})
		read += budget - c.left
		if err == nil {
			if err := Install(fs, store, m, smallLog); err != nil {
				t.Fatal(err)
			}
			break
		}
		if !errors.Is(err, errCut) {
			t.Fatal(err)
		}
	}
	o.holds(t, fs, store)
	if o.made != 1 {
		t.Fatalf("%d checkpoints were made for one seed", o.made)
	}
	total := 0
	for _, d := range o.files {
		total += len(d)
	}
	// Every attempt may lose the chunk in progress, and costs a manifest.
	if bound := total + tries*(ChunkBytes+10_000); read > bound {
		t.Fatalf("%d bytes read in %d attempts for %d: nothing was resumed", read, tries, total)
	}
}

// flipper flips one bit of what is read.
type flipper struct {
	io.ReadWriter
	at int
}

func (c *flipper) Read(p []byte) (int, error) {
	n, err := c.ReadWriter.Read(p)
	if c.at >= 0 && c.at < n {
		p[c.at] ^= 4
	}
	c.at -= n
	return n, err
}

func TestFlippedBitIsNeverInstalled(t *testing.T) {
	rng := seeded(t)
	for range 60 {
		o := newOrigin(t, rng, 3000, 1, 5000)
		fs := vfs.NewMem()
		store := openMeta(t, fs)
		at := rng.IntN(8000)
		m, _, err := transfer(t, o.Source, receiveOptions(fs, store), func(rw io.ReadWriter) io.ReadWriter {
			return &flipper{rw, at}
		})
		if err == nil {
			t.Fatalf("a flipped bit at %d passed", at)
		}
		if err := Install(fs, store, m, smallLog); !errors.Is(err, ErrNotReceived) {
			t.Fatalf("installed after a flipped bit: %v", err)
		}
		if m, _, err = transfer(t, o.Source, receiveOptions(fs, store), nil); err != nil {
			t.Fatal(err)
		}
		if err := Install(fs, store, m, smallLog); err != nil {
			t.Fatal(err)
		}
		o.holds(t, fs, store)
	}
}

func TestCorruptPartIsFetchedAnew(t *testing.T) {
	o := newOrigin(t, seeded(t), 4*ChunkBytes)
	fs := vfs.NewMem()
	store := openMeta(t, fs)
	_, _, err := transfer(t, o.Source, receiveOptions(fs, store), func(rw io.ReadWriter) io.ReadWriter {
		return &cutter{rw, 2*ChunkBytes + 5000}
	})
	if !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	f, err := fs.OpenReadWrite(store.StateDir(2)+"/000000.sst"+partSuffix, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("rotten"), 1000); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if _, _, err := transfer(t, o.Source, receiveOptions(fs, store), nil); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a rotten part: %v", err)
	}
	m, _, err := transfer(t, o.Source, receiveOptions(fs, store), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := Install(fs, store, m, smallLog); err != nil {
		t.Fatal(err)
	}
	o.holds(t, fs, store)
}
