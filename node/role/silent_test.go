package role

import (
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
)

// mute is a connection whose other end is not heard while silent is set; what it sends meanwhile is lost.
type mute struct {
	net.Conn
	silent *atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (m *mute) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	if m.silent.Load() {
		<-m.closed
		return 0, io.EOF
	}
	return n, err
}

func (m *mute) Close() error {
	m.once.Do(func() { close(m.closed) })
	return m.Conn.Close()
}

// A follower whose machine is gone sends nothing any more, but no connection ends because of that. Its leader soon stops
// calling it connected.
func TestAFollowerThatSaysNothingIsConnectedNoMore(t *testing.T) {
	var ahead, ended atomic.Int64
	var silent atomic.Bool
	c := newCluster(t)
	c.start("l", func(o *Options) {
		o.Log = funcr.New(func(_, line string) {
			if strings.Contains(line, "ended the stream of a follower that has been silent for too long") {
				ended.Add(1)
			}
		}, funcr.Options{})
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	c.start("f")
	through := func(conn net.Conn) net.Conn { return &mute{Conn: conn, silent: &silent, closed: make(chan struct{})} }
	c.members["l"].through.Store(&through)
	c.lead("l", "f")
	c.agrees("f")
	live := func() bool { return c.status("l").Followers["f"].Live }
	silent.Store(true)
	ahead.Store(int64(longSilence - 10*time.Second))
	time.Sleep(3 * RedialMost)
	if ended.Load() > 0 { // a busy machine may end the connection otherwise
		t.Fatal("given up too early")
	}
	ahead.Store(int64(longSilence))
	until(t, "the follower counts as gone", func() bool { return !live() })
	silent.Store(false)
	until(t, "it is back", live)
	c.fill("more", 1)
	c.agrees("f")
}
