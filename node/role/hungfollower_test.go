package role

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A follower whose fsync does not return still answers its leader's heartbeats. Its status reports the problem, and the
// operator acts on that.
func TestAFollowerWhoseDiskHangsSaysSo(t *testing.T) {
	c := newCluster(t)
	fs := &hangFS{FS: vfs.NewMem()}
	var ahead atomic.Int64
	c.start("a")
	c.start("b", func(o *Options) {
		o.FS = fs
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	c.lead("a", "b")
	until(t, "it follows", c.members["b"].Following)
	hang := make(chan struct{})
	fs.hang.Store(&hang)
	if _, err := put(t, c.members["a"].Runner, "k"); err != nil {
		t.Fatal(err)
	}
	until(t, "an fsync hangs", func() bool { return c.members["b"].syncBegan.Load() != 0 })
	ahead.Store(int64(time.Minute))
	until(t, "it says so", func() bool {
		s, err := c.members["b"].Status(t.Context())
		return err == nil && s.ProblemReason == wire.ProblemDiskStuck
	})
	until(t, "its leader hears it", func() bool { f := c.status("a").Followers["b"]; return f.Live && !f.CaughtUp })
	fs.hang.Store(nil)
	close(hang)
	until(t, "it is as good as before", func() bool { return c.status("b").Problem == "" && c.status("a").Followers["b"].CaughtUp })
}
