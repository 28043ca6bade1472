package node

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// line is one client connection, which is never reopened.
type line struct {
	t  *testing.T
	nc net.Conn
	in *bufio.Reader
}

func (c *cluster) line(name string) *line {
	nc, err := net.Dial("tcp", c.nodes[name].Addr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = nc.Close() })
	return &line{c.t, nc, bufio.NewReader(nc)}
}

func (l *line) send(command string) { _, _ = fmt.Fprintf(l.nc, "%s\r\n", command) }

// read returns the next line of a reply, or "closed".
func (l *line) read() string {
	_ = l.nc.SetDeadline(time.Now().Add(2 * time.Minute))
	text, err := l.in.ReadString('\n')
	if err != nil {
		return "closed"
	}
	return strings.TrimSpace(text)
}

func (l *line) ask(command string) string {
	l.send(command)
	return l.read()
}

// An asynchronous leader acknowledges a write that at most one follower has. Another member is then elected without those
// two, as dataLoss Allow permits. A connection that wrote or read the lost write is not shown an older state, nor told
// that followers have it: it ends.
func TestConnectionsEndWithWhatTheyHaveSeen(t *testing.T) {
	for at, entry := range map[string]string{"at the old leader": "m-1", "at a follower": "m-2"} {
		for name, test := range map[string]struct {
			question   string
			early      bool // the question is asked while nobody leads
			alsoReader bool // another connection reads the write first and then asks
		}{
			"a read":       {question: "GET mine"},
			"a wait":       {question: "WAIT 1 1000"},
			"what waits":   {question: "STRLEN mine", early: true},
			"who has read": {question: "STRLEN mine", alsoReader: true},
		} {
			t.Run(at+": "+name, func(t *testing.T) {
				c := newCluster(t, 3, 0)
				c.promote("m-1", "m-2", "m-3")
				l := c.line(entry)
				c.writeUnheard(l, entry)
				if test.alsoReader {
					l = c.line(entry)
					c.eventually("it is applied", func() bool { return l.ask(test.question) == ":1" })
				}
				c.lose(entry)
				if test.early {
					if _, err := c.nodes[entry].Fence(t.Context(), wire.FenceRequest{Epoch: 2}); err != nil {
						t.Fatal(err)
					}
					l.send(test.question)
				}
				c.follow(entry)
				c.eventually("everybody follows", func() bool { return c.status(entry).Last == c.status(c.lead).Last })
				if !test.early {
					l.send(test.question)
				}
				if got := l.read(); got != "closed" && got[0] != '-' {
					t.Errorf("%s on the connection that has seen what is lost: %s", test.question, got)
				}
				if got := c.line(entry).ask("GET mine"); got != "$-1" {
					t.Errorf("GET mine on a new connection: %s", got)
				}
			})
		}
	}
}

// writeUnheard makes a write over l, which is connected to entry, that only m-1 and perhaps entry receive.
func (c *cluster) writeUnheard(l *line, entry string) {
	c.t.Helper()
	if got := l.ask("SET before 1"); got != "+OK" {
		c.t.Fatal(got)
	}
	c.eventually("the followers are level", func() bool {
		end := c.status("m-1").Last
		return c.status("m-2").Last == end && c.status("m-3").Last == end
	})
	for name := range c.nodes { // fenced members accept nothing any more
		if name != "m-1" && name != entry {
			if _, err := c.nodes[name].Fence(c.t.Context(), wire.FenceRequest{Epoch: 2}); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	if got := l.ask("SET mine 1"); got != "+OK" {
		c.t.Fatal(got)
	}
}

// lose makes a member lead that lacks the write of writeUnheard. m-1 is stopped unless it is entry.
func (c *cluster) lose(entry string) {
	c.t.Helper()
	if entry == "m-1" {
		c.promote("m-2", "m-3")
		return
	}
	if err := c.nodes["m-1"].Stop(); err != nil {
		c.t.Fatal(err)
	}
	delete(c.nodes, "m-1")
	c.promote("m-3")
}
