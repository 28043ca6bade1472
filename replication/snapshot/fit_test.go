package snapshot

import (
	"errors"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// A snapshot that ends before the log that continues it begins is useless: it is passed over even if its checkpoint is
// recent, and a state that is not there yet is not sent.
func TestSnapshotReachesAsFarAsIsAskedFor(t *testing.T) {
	o := newOrigin(t, seeded(t), 1000)
	first := seedFresh(t, o)
	fetch := func(least replication.Position) (Manifest, error) {
		fs := vfs.NewMem()
		opt := receiveOptions(fs, openMeta(t, fs))
		opt.Least = least
		m, _, err := transfer(t, o.Source, opt, nil)
		return m, err
	}
	if m, err := fetch(o.mark.Position); err != nil || m.ID != first.ID {
		t.Fatalf("the checkpoint that reaches just far enough is not used: %v", err)
	}
	if _, err := fetch(o.mark.Position + 1); !errors.Is(err, ErrRefused) || o.Checkpoints() != 1 || len(o.pins) != 1 {
		t.Fatalf("a state that ends too early: %v, %d checkpoints", err, o.Checkpoints())
	}
	o.mark.Position++
	if m, err := fetch(o.mark.Position); err != nil || m.ID == first.ID || m.Mark != o.mark {
		t.Fatalf("received %v, %v", m.Mark, err)
	}
	// The receiver relies on the manifest, whatever it asked the source for.
	fs := vfs.NewMem()
	opt := receiveOptions(fs, openMeta(t, fs))
	opt.Least = o.mark.Position + 1
	r := receiver{o: opt, f: framer{rw: duplex{manifestOf(t, o), io.Discard}}}
	if err := r.run(t.Context()); !errors.Is(err, ErrManifest) {
		t.Fatalf("a manifest that ends too early: %v", err)
	}
}

func manifestOf(t *testing.T, o *origin) io.Reader {
	c, err := o.acquire("", 0)
	if err != nil {
		t.Fatal(err)
	}
	pr, pw := io.Pipe()
	go func() {
		f := framer{rw: duplex{nil, pw}}
		_ = pw.CloseWithError(f.writeJSON(frameManifest, c.manifest))
	}()
	return pr
}

// What was cut from the log after a checkpoint was made must not come back through the checkpoint, however recent it is,
// and even if its receiver asks for it by ID.
func TestCheckpointOfAnotherHistoryIsNotSent(t *testing.T) {
	o := newOrigin(t, seeded(t), 2*ChunkBytes, 2*ChunkBytes)
	o.o.Holds = func(m replication.Mark) bool { return m == o.mark }
	fs := vfs.NewMem()
	store := openMeta(t, fs)
	cut := func(rw io.ReadWriter) io.ReadWriter { return &cutter{rw, 3 * ChunkBytes} }
	if _, _, err := transfer(t, o.Source, receiveOptions(fs, store), cut); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	before := store.State().Seed.ID
	o.mark.Chain++
	m, _, err := transfer(t, o.Source, receiveOptions(fs, store), nil)
	if err != nil || m.ID == before || m.Mark != o.mark || o.made != 2 {
		t.Fatalf("received %s at %v, %v", m.ID, m.Mark, err)
	}
}

// The receiver may refuse to start from scratch. It is not asked about resuming.
func TestFreshSnapshotMayBeRefused(t *testing.T) {
	o := newOrigin(t, seeded(t), 2*ChunkBytes, 2*ChunkBytes)
	fs := vfs.NewMem()
	store := openMeta(t, fs)
	no := errors.New("not now")
	asked, answer := 0, error(nil)
	opt := receiveOptions(fs, store)
	opt.Fresh = func(Manifest) error { asked++; return answer }
	cut := func(rw io.ReadWriter) io.ReadWriter { return &cutter{rw, 3 * ChunkBytes} }
	if _, _, err := transfer(t, o.Source, opt, cut); !errors.Is(err, errCut) || asked != 1 {
		t.Fatalf("%v, asked %d times", err, asked)
	}
	answer = no
	if _, _, err := transfer(t, o.Source, opt, nil); err != nil || asked != 1 {
		t.Fatalf("going on: %v, asked %d times", err, asked)
	}
	other := newOrigin(t, seeded(t), 100)
	if _, served, err := transfer(t, other.Source, opt, nil); !errors.Is(err, no) || !errors.Is(served, ErrRefused) || asked != 2 {
		t.Fatalf("%v, %v, asked %d times", err, served, asked)
	}
	if seed := store.State().Seed; seed == nil || seed.ID != "" {
		t.Fatalf("what was refused counts as begun: %+v", seed)
	}
}

// A source that is there, but must serve others first, says so.
func TestWaitComesBeforeTheManifest(t *testing.T) {
	o := newOrigin(t, seeded(t), 1000)
	pr, pw := io.Pipe()
	go func() {
		for range 3 {
			if err := Wait(pw); err != nil {
				t.Error(err)
			}
		}
		_, err := io.Copy(pw, manifestOf(t, o))
		_ = pw.CloseWithError(err)
	}()
	f := framer{rw: duplex{pr, io.Discard}}
	if m, err := f.manifest(); err != nil || m.Mark != o.mark {
		t.Fatalf("%v, %v", m.Mark, err)
	}
}
