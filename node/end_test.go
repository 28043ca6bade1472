package node

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// slowTables makes the last flush take a while, as if there were much to flush.
type slowTables struct{ vfs.FS }

func (f slowTables) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasSuffix(name, ".sst") {
		time.Sleep(time.Second)
	}
	return f.FS.Create(name, c)
}

// A leader that ends after an error gives its clients a moment for last replies, and has closed its other ports by then.
// Once those refuse connections, another leader may be promoted at once. So it answers no read that must be linearizable.
func TestALeaderThatEndsServesNoRead(t *testing.T) {
	c := newCluster(t, 2, 1, func(o *Options) { o.Consistency, o.FS = ConsistencyLeaderWindow, slowTables{vfs.Default} })
	n := c.nodes["m-1"]
	conn, err := net.Dial("tcp", n.Addr().String()) // before the node leads, so that reads on this connection are served here
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ask := func(what string) string {
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		_, _ = conn.Write([]byte(what))
		b := make([]byte, 256)
		k, _ := conn.Read(b)
		return string(b[:k])
	}
	ask("PING\r\n")
	if leader := c.promote("m-1", "m-2"); leader != "m-1" {
		t.Fatalf("%s leads", leader)
	}
	if err := c.client("m-1").Set(t.Context(), "x", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	got := ""
	c.eventually("it answers a read", func() bool { got = ask("GET x\r\n"); return got == "$1\r\n1\r\n" }) // on a busy machine its window may have ended
	control, peers := n.ControlAddr().String(), n.PeerAddr().String()
	n.end(errors.New("the disk has failed"))
	for _, address := range []string{control, peers} { // as the operator and a follower would look
		c.eventually(address+" refuses", func() bool {
			p, err := net.Dial("tcp", address)
			if err == nil {
				_ = p.Close()
			}
			return err != nil
		})
	}
	if got = ask("GET x\r\n"); strings.HasPrefix(got, "$") {
		t.Errorf("its ports refuse, and it answers a read with %q", got)
	}
	_ = n.Wait()
	delete(c.nodes, "m-1")
}
