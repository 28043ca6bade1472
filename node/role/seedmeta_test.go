package role

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication/meta"
)

// If META fails while a snapshot is received, the process ends, as after any failed fsync. (The member went on, followed
// nobody and asked for the snapshot forever. Simulation, seed 2511.)
func TestMETAThatFailsDuringASeedEndsTheProcess(t *testing.T) {
	c := ledWith(t, func(*Options) {})
	var started, seeding atomic.Bool
	broken := errors.New("input/output error")
	f := c.start("f", func(o *Options) {
		o.FS = errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			switch op.Kind {
			case errorfs.OpMkdirAll: // where the snapshot goes
				seeding.Store(started.Load())
			case errorfs.OpFileSync, errorfs.OpFileSyncData:
				if seeding.Load() && strings.Contains(op.Path, "META") {
					return broken
				}
			default:
			}
			return nil
		}))
	})
	started.Store(true)
	c.follow("f")
	select {
	case err := <-f.Failed():
		if !errors.Is(err, meta.ErrFailed) || !errors.Is(err, broken) {
			t.Fatalf("ended by %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on with a META that has failed")
	}
}
