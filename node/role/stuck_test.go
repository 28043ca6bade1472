package role

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-logr/logr"
)

// A role goroutine that a hung disk holds up must not look alive forever.
func TestAHungRoleGoroutineIsStuck(t *testing.T) {
	var ahead atomic.Int64
	r, err := Start(t.Context(), Options{
		FS: vfs.NewMem(), Dir: "d", Store: "s", Member: "m", Log: logr.Discard(), Memory: 32 << 20, LogRetain: 1 << 20,
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	held, release := make(chan struct{}), make(chan struct{})
	r.works.Post(func() { close(held); <-release })
	<-held
	ahead.Store(int64(time.Hour))
	if d := r.Stuck(); d < time.Hour/2 {
		t.Fatalf("stuck for %v, although it has not come round for an hour", d)
	}
	if err := r.HeldUp(); err == nil || !strings.Contains(err.Error(), "it has made no progress for more than 1h0m") {
		t.Errorf("it says %v", err)
	}
	close(release)
	until(t, "it has come round again", func() bool { return r.Stuck() <= time.Minute })
	until(t, "it is held up no more", func() bool { return r.HeldUp() == nil })
}
