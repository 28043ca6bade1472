package snapshot

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication/durable"
	"github.com/replicatedstore/replicatedstore/replication/volume"
	"github.com/replicatedstore/replicatedstore/replication/volume/volumetest"
)

// On a nearly full volume a source's checkpoint holds neither log nor tables for longer than it is being sent; on a full
// one none is made.
func TestASendersCheckpointIsSparedOnANearlyFullVolume(t *testing.T) {
	o := newOrigin(t, seeded(t), 1000)
	seedFresh(t, o)
	c, err := o.acquire("", 0)
	if err != nil {
		t.Fatal(err)
	}
	if o.Spare(volume.Ample) != nil || o.Checkpoints() != 1 || len(o.pins) != 1 {
		t.Fatalf("with room: %d checkpoints, %d holds", o.Checkpoints(), len(o.pins))
	}
	if o.Spare(volume.NearlyFull) != nil || o.Checkpoints() != 1 || len(o.pins) != 0 {
		t.Fatalf("nearly full, while it is being sent: %d checkpoints, %d holds", o.Checkpoints(), len(o.pins))
	}
	o.done(c, false)
	if o.Checkpoints() != 0 {
		t.Fatal("nearly full, and nobody is being sent it")
	}
	seedFresh(t, o)
	if remove := o.Spare(volume.Full); remove == nil || remove() != nil {
		t.Fatal("it was not removed")
	}
	if _, err := o.acquire("", 0); !errors.Is(err, ErrRefused) || o.Checkpoints() != 0 {
		t.Fatalf("full: %v, %d checkpoints", err, o.Checkpoints())
	}
}

// A checkpoint that no longer pins the log may end before the log begins. That there is room again does not change that.
func TestASparedCheckpointIsSentToNobodyElse(t *testing.T) {
	o := newOrigin(t, seeded(t), 1000)
	first, err := o.acquire("", 0)
	if err != nil {
		t.Fatal(err)
	}
	o.Spare(volume.NearlyFull)
	o.Spare(volume.Ample)
	for _, id := range []string{"", first.manifest.ID} {
		c, err := o.acquire(id, 0)
		if err != nil || c == first || len(o.pins) != 1 {
			t.Fatalf("asked for %q: the same %v, %d holds, %v", id, c == first, len(o.pins), err)
		}
	}
	o.done(first, false)
	if names, err := o.fs.List("checkpoints"); err != nil || len(names) != 1 || o.Checkpoints() != 1 {
		t.Fatalf("on disk when nobody is sent it any more: %v, %v", names, err)
	}
}

// Files are removed by a caller that may wait for the disk.
func TestSparingDoesNotWaitForTheDisk(t *testing.T) {
	o := newOrigin(t, seeded(t), 1000)
	seedFresh(t, o)
	remove := o.Spare(volume.NearlyFull)
	if names, err := o.fs.List("checkpoints"); err != nil || len(names) != 1 || o.Checkpoints() != 0 || len(o.pins) != 0 {
		t.Fatalf("%v, %d checkpoints, %d holds, %v", names, o.Checkpoints(), len(o.pins), err)
	}
	if err := remove(); err != nil {
		t.Fatal(err)
	}
	if names, err := o.fs.List("checkpoints"); err != nil || len(names) != 0 {
		t.Fatalf("left: %v, %v", names, err)
	}
}

// Space already preallocated for a partial file is not demanded a second time when the file is resumed.
func TestAResumedSeedCountsWhatIsSetAsideOnce(t *testing.T) {
	v := volumetest.MountInMemory(t, 64)
	t.Chdir(v.Path)
	store := openMeta(t, vfs.Default)
	t.Cleanup(func() { _ = store.Close() })
	r := receiver{o: receiveOptions(vfs.Default, store)}
	r.m = Manifest{Files: []File{{Name: "a.sst", Size: 40 << 20}}, Total: 40 << 20}
	r.dir = store.StateDir(2)
	if err := durable.MkdirAll(vfs.Default, r.dir); err != nil {
		t.Fatal(err)
	}
	f, err := vfs.Default.Create(r.dir+"/a.sst"+partSuffix, durable.Category)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(make([]byte, 1<<20))
	if err := errors.Join(err, f.Preallocate(0, 40<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	r.o.Margin = 1 << 20
	held, err := r.takeStock()
	if err != nil || held != 1<<20 || r.aside < 38<<20 || r.aside > 39<<20 {
		t.Fatalf("%d arrived, %d set aside, %v", held, r.aside, err)
	}
	if err := r.checkRoom(r.m.Total - held - r.aside); err != nil {
		t.Fatal(err)
	}
}
