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

// line is one connection of a client, which is never made anew.
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
	_ = l.nc.SetDeadline(time.Now().Add(30 * time.Second))
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

// An asynchronous leader acknowledges a write that nobody else has, and another is elected without it, as dataLoss Allow permits. A connection
// that wrote what is lost is not shown an older state, nor told that followers have it: it ends.
func TestConnectionsEndWithWhatTheyHaveSeen(t *testing.T) {
	for at, entry := range map[string]string{"at the old leader": "m-1", "at a follower": "m-2"} {
		// early: it is asked while nobody leads.
		for question, early := range map[string]bool{"GET mine": false, "WAIT 1 1000": false, "STRLEN mine": true} {
			t.Run(at+": "+question, func(t *testing.T) {
				c := newCluster(t, 3, 0)
				c.promote("m-1", "m-2", "m-3")
				l := c.line(entry)
				if got := l.ask("SET before 1"); got != "+OK" {
					t.Fatal(got)
				}
				c.eventually("the followers are level", func() bool {
					end := c.status("m-1").Last
					return c.status("m-2").Last == end && c.status("m-3").Last == end
				})
				for name := range c.nodes { // who is fenced takes nothing any more
					if name != "m-1" && name != entry {
						if _, err := c.nodes[name].Fence(t.Context(), wire.FenceRequest{Epoch: 2}); err != nil {
							t.Fatal(err)
						}
					}
				}
				if got := l.ask("SET mine acknowledged"); got != "+OK" {
					t.Fatal(got)
				}
				if entry == "m-1" {
					c.promote("m-2", "m-3")
				} else {
					if err := c.nodes["m-1"].Stop(); err != nil {
						t.Fatal(err)
					}
					delete(c.nodes, "m-1")
					c.promote("m-3")
				}
				if early {
					if _, err := c.nodes[entry].Fence(t.Context(), wire.FenceRequest{Epoch: 2}); err != nil {
						t.Fatal(err)
					}
					l.send(question)
				}
				c.follow(entry)
				c.eventually("everybody follows", func() bool { return c.status(entry).Last == c.status(c.lead).Last })
				if !early {
					l.send(question)
				}
				if got := l.read(); got != "closed" && got[0] != '-' {
					t.Errorf("%s on the connection whose write is lost: %s", question, got)
				}
				if got := c.line(entry).ask("GET mine"); got != "$-1" {
					t.Errorf("GET mine on a new connection: %s", got)
				}
			})
		}
	}
}
