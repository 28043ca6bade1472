package role

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A leader whose log has no room hands over everything that is in it. What it could not write is in no log, and stays in
// none while the hold lasts, even if there is room again. If nobody takes over, it continues in order.
func TestALeaderWhoseLogHasNoRoomHandsOver(t *testing.T) {
	var full atomic.Bool
	c := newCluster(t)
	a := c.start("a", func(o *Options) { o.FS, o.Segments = fullFS(&full), wal.Options{SegmentBytes: 64 << 10} })
	c.start("b")
	c.lead("a", "b")
	until(t, "the follower follows", c.members["b"].Following)
	full.Store(true)
	last, err := put(t, a.Runner, "k")
	for err == nil && !stalled(t, a.Runner) {
		last, err = put(t, a.Runner, "k")
	}
	if err != nil {
		t.Fatal(err)
	}
	reply, err := a.Handover(t.Context(), wire.HandoverRequest{Epoch: c.epoch, To: "b", HoldMillis: maxHold.Milliseconds()})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.status("b").Durable; got != reply.End || last.Position <= got.Position {
		t.Fatalf("handed over up to %v, the follower holds %v; queued was up to %d", reply.End, got, last.Position)
	}
	full.Store(false)
	if err := a.works.Do(t.Context(), func() {
		held := a.hold != nil
		a.space.noRoom = false // the member cannot measure this volume
		a.Tick()
		if end := a.Contents().Log.Last(); held && end != reply.End {
			t.Errorf("the log goes on to %v behind the end that was promised, %v", end, reply.End)
		}
		a.endHold()
	}); err != nil {
		t.Fatal(err)
	}
	if err := a.Generation().Seq.Wait(t.Context(), last); err != nil {
		t.Errorf("what waited for room: %v", err)
	}
}

// A handover that does not finish in time names the member that did not reach the log's end.
func TestAHandoverThatFailsTellsWhy(t *testing.T) {
	c := newCluster(t)
	disks := map[string]*hangFS{"a": {FS: vfs.NewMem()}, "b": {FS: vfs.NewMem()}}
	for name, fs := range disks {
		c.start(name, func(o *Options) { o.FS = fs })
	}
	c.lead("a", "b")
	until(t, "the follower follows", c.members["b"].Following)
	for name, want := range map[string]string{"a": "a did not make its own log durable", "b": "b did not reach the log's end within 2s"} {
		hang := make(chan struct{})
		disks[name].hang.Store(&hang)
		if _, err := put(t, c.members["a"].Runner, "k"); err != nil {
			t.Fatal(err)
		}
		if name == "b" {
			until(t, "the leader itself has written it", func() bool { s := c.status("a"); return s.Durable == s.Last })
		}
		_, err := c.members["a"].Handover(t.Context(), wire.HandoverRequest{Epoch: c.epoch, To: "b", HoldMillis: 2000})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is short: %v", name, err)
		}
		disks[name].hang.Store(nil)
		close(hang)
		c.agrees("b")
	}
}

// That member is also named if the hold ends just before the last look.
func TestAHandoverWhoseHoldIsOverTellsWhy(t *testing.T) {
	c := newCluster(t)
	fs := &hangFS{FS: vfs.NewMem()}
	c.start("a")
	c.start("b", func(o *Options) { o.FS = fs })
	c.lead("a", "b")
	until(t, "the follower follows", c.members["b"].Following)
	hang := make(chan struct{})
	fs.hang.Store(&hang)
	defer c.agrees("b")
	defer close(hang)
	defer fs.hang.Store(nil)
	a := c.members["a"]
	if _, err := put(t, a.Runner, "k"); err != nil {
		t.Fatal(err)
	}
	until(t, "the leader itself has written it", func() bool { s := c.status("a"); return s.Durable == s.Last })
	failed := make(chan error, 1)
	go func() {
		_, err := a.Handover(context.Background(), wire.HandoverRequest{Epoch: c.epoch, To: "b", HoldMillis: maxHold.Milliseconds()})
		failed <- err
	}()
	until(t, "the writes are held, and the hold ends", func() (held bool) {
		_ = a.works.Do(context.Background(), func() {
			held = a.hold != nil
			a.endHold()
		})
		return held
	})
	a.acks.signal()
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "b did not reach the log's end") {
		t.Errorf("said: %v", err)
	}
}
