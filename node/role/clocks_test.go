package role

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"

	"github.com/replicatedstore/replicatedstore/replication"
)

// How far leader time is ahead of the machine's clock is measured and logged: once per leadership, even if the clock is
// set back while the member leads, and once more by the next leader.
func TestLeaderTimeAheadIsTold(t *testing.T) {
	var ahead, told atomic.Int64
	o := options()
	o.Wall = func() int64 { return time.Now().UnixMilli() + ahead.Load() }
	o.Log = funcr.New(func(_, line string) {
		if strings.Contains(line, "ahead of this machine's clock") {
			told.Add(1)
		}
	}, funcr.Options{})
	r := start(t, o)
	if _, leads := r.TimeAhead(); leads {
		t.Error("it does not lead, and has leader time")
	}
	ahead.Store(time.Hour.Milliseconds())
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	write(t, r, "k")
	if d, leads := r.TimeAhead(); !leads || d > time.Minute || told.Load() != 0 {
		t.Errorf("%v ahead, %t, told %d times, of a clock that it goes by", d, leads, told.Load())
	}
	ahead.Store(0)
	if d, _ := r.TimeAhead(); d < 50*time.Minute || d > time.Hour {
		t.Errorf("%v ahead of a clock that was set back by an hour", d)
	}
	until(t, "it is told", func() bool { return told.Load() > 0 })
	lead(t, r, 2, replication.Rule{})
	until(t, "the next leader tells it", func() bool { return told.Load() == 2 })
	if err := r.works.Do(t.Context(), r.Tick); err != nil || told.Load() != 2 {
		t.Errorf("told %d times, %v", told.Load(), err)
	}
}
