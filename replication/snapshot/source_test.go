package snapshot

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

func seedFresh(t *testing.T, o *origin) Manifest {
	t.Helper()
	fs := vfs.NewMem()
	m, served, err := transfer(t, o.Source, receiveOptions(fs, openMeta(t, fs)), nil)
	if err != nil || served != nil {
		t.Fatalf("%v, %v", err, served)
	}
	return m
}

func TestCheckpointsAreReusedAndRemoved(t *testing.T) {
	o := newOrigin(t, seeded(t), 1000)
	first := seedFresh(t, o)
	o.now = o.now.Add(9 * time.Minute)
	if again := seedFresh(t, o); again.ID != first.ID || o.made != 1 {
		t.Fatal("a young checkpoint is not used again")
	}
	if o.pinSeen[0] != o.mark.Position-applied || len(o.pins) != 1 {
		t.Fatalf("pins %v: the log must be held from before the checkpoint on, then from its mark on", o.pins)
	}
	for _, from := range o.pins {
		if from != o.mark.Position+1 {
			t.Fatalf("pinned from %d", from)
		}
	}
	o.now = o.now.Add(2 * time.Minute)
	if err := o.Sweep(); err != nil || o.Checkpoints() != 1 {
		t.Fatalf("swept before its time: %v", err)
	}
	if other := seedFresh(t, o); other.ID == first.ID || o.made != 2 {
		t.Fatal("an old checkpoint is used again")
	}
	o.now = o.now.Add(11 * time.Minute)
	seedFresh(t, o)
	if o.made != 3 || o.Checkpoints() != 2 {
		t.Fatalf("%d made, %d kept", o.made, o.Checkpoints())
	}
	o.now = o.now.Add(11 * time.Minute)
	if err := o.Sweep(); err != nil || o.Checkpoints() != 0 || len(o.pins) != 0 {
		t.Fatalf("%d kept, pins %v, %v", o.Checkpoints(), o.pins, err)
	}
	if names, err := o.fs.List("checkpoints"); err != nil || len(names) != 0 {
		t.Fatalf("on disk: %v, %v", names, err)
	}
}

// With every checkpoint in use, a new seed shares the newest one instead of making a third.
func TestCheckpointsAreBounded(t *testing.T) {
	o := newOrigin(t, seeded(t), 1000)
	for range 4 {
		if _, err := o.acquire("", 0); err != nil {
			t.Fatal(err)
		}
		o.now = o.now.Add(time.Hour)
		if err := o.Sweep(); err != nil {
			t.Fatal(err)
		}
	}
	if o.made != 2 || o.Checkpoints() != 2 {
		t.Fatalf("%d made, %d kept", o.made, o.Checkpoints())
	}
}

func TestNewSourceRemovesOldCheckpoints(t *testing.T) {
	o := newOrigin(t, seeded(t), 1000)
	seedFresh(t, o)
	s, err := NewSource(o.o)
	if err != nil || s.Checkpoints() != 0 {
		t.Fatal(err)
	}
	if _, err := o.fs.Stat("checkpoints"); err == nil {
		t.Fatal("checkpoints of another process are still there")
	}
}

func TestFailedCheckpointLeavesNothing(t *testing.T) {
	o := newOrigin(t, seeded(t), 1000)
	o.epochs = nil // contradicts the mark
	fs := vfs.NewMem()
	_, served, err := transfer(t, o.Source, receiveOptions(fs, openMeta(t, fs)), nil)
	if !errors.Is(served, ErrManifest) || !errors.Is(err, ErrRefused) {
		t.Fatalf("%v, %v", served, err)
	}
	if names, err := o.fs.List("checkpoints"); err != nil || len(names) != 0 || len(o.pins) != 0 {
		t.Fatalf("left: %v, pins %v, %v", names, o.pins, err)
	}
}

func TestOtherStoreIsRefused(t *testing.T) {
	o := newOrigin(t, seeded(t), 1000)
	fs := vfs.NewMem()
	opt := receiveOptions(fs, openMeta(t, fs))
	opt.Store = "payments"
	if _, served, err := transfer(t, o.Source, opt, nil); !errors.Is(err, ErrRefused) || !errors.Is(served, ErrRefused) {
		t.Fatalf("%v, %v", served, err)
	}
	if o.made != 0 {
		t.Fatal("a checkpoint was made for it")
	}
}

func TestAnotherSnapshotStartsOver(t *testing.T) {
	rng := seeded(t)
	o := newOrigin(t, rng, 2*ChunkBytes, 2*ChunkBytes)
	fs := vfs.NewMem()
	store := openMeta(t, fs)
	cut := func(rw io.ReadWriter) io.ReadWriter { return &cutter{rw, 3*ChunkBytes + 3000} }
	if _, _, err := transfer(t, o.Source, receiveOptions(fs, store), cut); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	other := newOrigin(t, rng, 10, 2*ChunkBytes, 50)
	m, _, err := transfer(t, other.Source, receiveOptions(fs, store), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := Install(fs, store, m, smallLog); err != nil {
		t.Fatal(err)
	}
	other.holds(t, fs, store)
}

func TestNoRoom(t *testing.T) {
	o := newOrigin(t, seeded(t), 100_000)
	fs := vfs.NewMem()
	store := openMeta(t, fs)
	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 104_999, TotalBytes: 1 << 20, UsedBytes: 1<<20 - 104_999})
	opt := receiveOptions(fs, store)
	opt.Margin = 5000
	_, served, err := transfer(t, o.Source, opt, nil)
	var room *NoRoomError
	if !errors.As(err, &room) || room.Need != 105_000 || room.Free != 104_999 || room.Held == 0 || !errors.Is(served, ErrRefused) {
		t.Fatalf("%v, %+v, %v", err, room, served)
	}
	if st := store.State(); st.Seed != nil {
		t.Fatalf("a seed is on record: %+v", st.Seed)
	}
	if o.Checkpoints() != 0 || len(o.pins) != 0 {
		t.Fatalf("%d checkpoints and %d holds on the log are kept for whoever has refused", o.Checkpoints(), len(o.pins))
	}
	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 105_000, TotalBytes: 1 << 20})
	if _, _, err := transfer(t, o.Source, opt, nil); err != nil {
		t.Fatal(err)
	}
}

// A receiver that was interrupted comes back for the rest, even if another one has meanwhile refused the same snapshot for
// lack of room.
func TestWhatOneRefusesAnotherGoesOnWith(t *testing.T) {
	o := newOrigin(t, seeded(t), 2*ChunkBytes, 2*ChunkBytes)
	fs := vfs.NewMem()
	store := openMeta(t, fs)
	cut := func(rw io.ReadWriter) io.ReadWriter { return &cutter{rw, 3*ChunkBytes + 3000} }
	if _, _, err := transfer(t, o.Source, receiveOptions(fs, store), cut); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	begun := store.State().Seed.ID
	full := vfs.NewMem()
	full.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1000, TotalBytes: 1 << 20, UsedBytes: 1<<20 - 1000})
	var room *NoRoomError
	if _, _, err := transfer(t, o.Source, receiveOptions(full, openMeta(t, full)), nil); !errors.As(err, &room) {
		t.Fatal(err)
	}
	if m, _, err := transfer(t, o.Source, receiveOptions(fs, store), nil); err != nil || m.ID != begun {
		t.Fatalf("begun with %s, and again with %s: %v", begun, m.ID, err)
	}
}

// A member that must give up its old state first knows at every moment that it holds nothing.
func TestStartOverThenSeed(t *testing.T) {
	o := newOrigin(t, seeded(t), 1000)
	fs := vfs.NewMem()
	store := openMeta(t, fs)
	oldState(t, fs, store)
	if err := store.StartOver(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.RemoveObsolete(); err != nil {
		t.Fatal(err)
	}
	m, _, err := transfer(t, o.Source, receiveOptions(fs, store), nil)
	if err != nil {
		t.Fatal(err)
	}
	if st := store.State(); !st.Promises.NeedSeed || st.Seed == nil || !st.Seed.Dropped {
		t.Fatalf("before install: %+v %+v", st, st.Seed)
	}
	if err := Install(fs, store, m, smallLog); err != nil {
		t.Fatal(err)
	}
	if st := store.State(); st.Promises.NeedSeed || st.Generation != 3 {
		t.Fatalf("after install: %+v", st)
	}
	o.holds(t, fs, store)
}

func TestThrottleAndCancel(t *testing.T) {
	o := newOrigin(t, seeded(t), 5*ChunkBytes)
	asked := 0
	ctx, cancel := context.WithCancel(context.Background())
	o.o.Throttle = func(_ context.Context, n int) error {
		if asked += n; asked > 3*ChunkBytes {
			cancel()
		}
		return nil
	}
	a, b := net.Pipe()
	fs := vfs.NewMem()
	store := openMeta(t, fs)
	done := make(chan error, 1)
	go func() {
		_, err := Receive(context.Background(), b, receiveOptions(fs, store))
		done <- err
	}()
	if err := o.Serve(ctx, a); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	_ = a.Close()
	if err := <-done; err == nil {
		t.Fatal("received a part and called it whole")
	}
	if asked != 4*ChunkBytes {
		t.Fatalf("asked for %d bytes", asked)
	}
}

func TestInstallRefusesWhatWasNotReceived(t *testing.T) {
	fs := vfs.NewMem()
	store := openMeta(t, fs)
	o := newOrigin(t, seeded(t), 1000, 2000)
	if err := Install(fs, store, Manifest{ID: "x"}, smallLog); !errors.Is(err, ErrNotReceived) {
		t.Fatalf("without a seed: %v", err)
	}
	m, _, err := transfer(t, o.Source, receiveOptions(fs, store), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := Install(fs, store, Manifest{ID: "other"}, smallLog); !errors.Is(err, ErrNotReceived) {
		t.Fatalf("another seed: %v", err)
	}
	if err := fs.Remove(store.StateDir(2) + "/000001.sst"); err != nil {
		t.Fatal(err)
	}
	if err := Install(fs, store, m, smallLog); !errors.Is(err, ErrNotReceived) || store.State().Generation != 1 {
		t.Fatalf("with a file missing: %v", err)
	}
}

func TestManifestCheck(t *testing.T) {
	good := func() Manifest {
		return Manifest{
			Version: 1, ID: "a", Store: "orders", Mark: replication.Mark{Epoch: 1, Position: 5},
			Epochs: replication.EpochTable{{Epoch: 1, Start: 1}}, Files: []File{{"000001.sst", 5}, {"MANIFEST-000002", 0}}, Total: 5,
		}
	}
	m := good()
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Manifest){
		"version":            func(m *Manifest) { m.Version = 2 },
		"no id":              func(m *Manifest) { m.ID = "" },
		"empty":              func(m *Manifest) { m.Mark = replication.Mark{} },
		"no epoch":           func(m *Manifest) { m.Mark.Epoch = 0 },
		"epochs":             func(m *Manifest) { m.Epochs = nil },
		"epochs out of turn": func(m *Manifest) { m.Epochs = append(m.Epochs, m.Epochs[0]) },
		"epochs after it":    func(m *Manifest) { m.Epochs = append(m.Epochs, replication.EpochStart{Epoch: 2, Start: 6}) },
		"too many epochs": func(m *Manifest) {
			m.Epochs = nil
			for e := replication.Epoch(1); e <= 1<<16+1; e++ {
				m.Epochs = append(m.Epochs, replication.EpochStart{Epoch: e, Start: replication.Position(e)})
			}
			m.Mark = replication.Mark{Epoch: 1<<16 + 1, Position: 1 << 17}
		},
		"total":         func(m *Manifest) { m.Total = 6 },
		"negative size": func(m *Manifest) { m.Files[0].Size, m.Total = -5, -5 },
		"overflow":      func(m *Manifest) { m.Files[0].Size, m.Files[1].Size = 1<<62, 1<<62 },
		"twice":         func(m *Manifest) { m.Files[1] = m.Files[0] },
		"path":          func(m *Manifest) { m.Files[0].Name = "../META" },
		"absolute":      func(m *Manifest) { m.Files[0].Name = "/etc/passwd" },
		"hidden":        func(m *Manifest) { m.Files[0].Name = ".." },
		"part":          func(m *Manifest) { m.Files[0].Name = "a.part" },
		"no name":       func(m *Manifest) { m.Files[0].Name = "" },
		"zero byte":     func(m *Manifest) { m.Files[0].Name = "a\x00b" },
	} {
		m := good()
		spoil(&m)
		if err := m.Check(); !errors.Is(err, ErrManifest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMeter(t *testing.T) {
	var got []Progress
	at := time.Unix(0, 0)
	m := newMeter(&Manifest{ID: "a", Total: 100_000}, 10_000, at, func(p Progress) { got = append(got, p) })
	for range 90 {
		at = at.Add(500 * time.Millisecond)
		m.add(1000, at)
	}
	last := got[len(got)-1]
	if last.Done != 100_000 || last.Rate < 1900 || last.Rate > 2100 || last.Left != 0 {
		t.Fatalf("%+v", last)
	}
	half := got[len(got)/2]
	if want := float64(half.Total-half.Done) / 2000; half.Left.Seconds() < want*0.9 || half.Left.Seconds() > want*1.1 {
		t.Fatalf("%+v", half)
	}
	if got[0].Left != -1 || got[0].Done != 10_000 {
		t.Fatalf("first %+v", got[0])
	}
}

// Making a checkpoint may take longer than a receiver waits for a sign of life. (Seed of 10 GB: each attempt ended after 30
// s of silence.)
func TestReceiverHearsOfItsSourceWhileACheckpointIsMade(t *testing.T) {
	o := newOrigin(t, seeded(t), 1000)
	ready, checkpoint := make(chan struct{}), o.o.Checkpoint
	o.o.Say = time.Millisecond
	o.o.Checkpoint = func(dir string) (replication.Mark, replication.EpochTable, error) {
		<-ready
		return checkpoint(dir)
	}
	here, there := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- o.Serve(t.Context(), there) }()
	f := framer{rw: here}
	if err := f.writeJSON(frameRequest, request{Store: o.o.Store}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got, _, err := f.read(); got != frameWait || err != nil {
			t.Fatalf("%s, %v", got, err)
		}
	}
	close(ready)
	if _, err := f.manifest(); err != nil {
		t.Fatal(err)
	}
	if err := here.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err == nil {
		t.Fatal("served nobody")
	}
}

// A leader that has restarted applies nothing before it has voters, and those may need to be seeded first. An empty state
// is therefore sent if the log that continues it is whole. (Simulation, seed 69374.)
func TestEmptyStateBeforeAWholeLog(t *testing.T) {
	for name, whole := range map[string]bool{"the log is whole": true, "it is not": false} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, seeded(t), 1000)
			o.mark, o.epochs = replication.Mark{}, nil
			o.o.Holds = func(replication.Mark) bool { return whole }
			fs := vfs.NewMem()
			store := openMeta(t, fs)
			m, _, err := transfer(t, o.Source, receiveOptions(fs, store), nil)
			if !whole {
				if !errors.Is(err, ErrRefused) {
					t.Fatalf("sent, %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := Install(fs, store, m, smallLog); err != nil {
				t.Fatal(err)
			}
			o.holds(t, fs, store)
		})
	}
}
