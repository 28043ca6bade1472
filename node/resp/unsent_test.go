package resp_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// encoded returns a command as clients send it.
func encoded(words ...string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, w := range words {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b
}

// wholePipeline sends a command count times before it reads the first reply, as most client libraries do, and compares the replies.
func wholePipeline(addr string, one []byte, count int, reply []byte) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	renew := func() { _ = c.SetDeadline(time.Now().Add(testTimeout)) }
	chunk := bytes.Repeat(one, 1000)
	for sent := 0; sent < count; sent += 1000 {
		renew()
		if _, err := c.Write(chunk); err != nil {
			return fmt.Errorf("send commands from %d on: %w", sent, err)
		}
	}
	r, got := bufio.NewReader(c), make([]byte, len(reply))
	for i := range count {
		if i%1000 == 0 {
			renew()
		}
		if _, err := io.ReadFull(r, got); err != nil {
			return fmt.Errorf("read reply %d: %w", i, err)
		}
		if !bytes.Equal(got, reply) {
			return fmt.Errorf("reply %d is %.50q", i, got)
		}
	}
	return nil
}

// Clients that send a whole pipeline before they read the first reply get all replies, even if replies take turns, and also through a member
// that forwards.
func TestWholePipelineBeforeItsReplies(t *testing.T) {
	value := strings.Repeat("v", 1000)
	o := forwarding()
	leader := resptest.StartWaiting(t, o)
	follower := leader.Follow(o)
	leader.Lead()
	follower.Point(leader.Addr)
	o.MaxLong = 120 << 20
	rationed := resptest.Start(t, o)
	for _, n := range []*resptest.Node{leader, rationed} {
		dial(t, n.Addr).do("SET k "+value, "+OK")
	}
	for name, tc := range map[string]struct {
		addr  string
		one   []byte
		count int
		reply string
	}{
		"reads":            {leader.Addr, encoded("GET", "k"), 40_000, "$1000\r\n" + value + "\r\n"},
		"writes":           {leader.Addr, encoded("SET", "k", value, "GET"), 40_000, "$1000\r\n" + value + "\r\n"},
		"rationed":         {rationed.Addr, encoded("GET", "k"), 40_000, "$1000\r\n" + value + "\r\n"},
		"forwarded":        {follower.Addr, encoded("SET", "k", value, "GET"), 20_000, "$1000\r\n" + value + "\r\n"},
		"reads elsewhere":  {follower.Addr, encoded("GET", "k"), 40_000, "$1000\r\n" + value + "\r\n"},
		"nothing but PING": {leader.Addr, encoded("PING", value), 40_000, "$1000\r\n" + value + "\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := wholePipeline(tc.addr, tc.one, tc.count, []byte(tc.reply)); err != nil {
				t.Error(err)
			}
		})
	}
}

// The replies kept for a client are bounded by client-output-buffer-limit and by the memory for replies. Beyond that, nothing more is executed
// until the client takes some.
func TestUnsentRepliesAreBounded(t *testing.T) {
	for name, o := range map[string]resp.Options{"of one client": {MaxOutput: 8 << 20}, "of all": {MaxLong: 16 << 20}} {
		t.Run(name, func(t *testing.T) {
			n := resptest.Start(t, o)
			w := dial(t, n.Addr)
			w.do("SETRANGE k 9999 x", ":10000")
			w.do("SET n 0", "+OK")
			c := dial(t, n.Addr)
			const count = 4000
			c.send(strings.Repeat("INCR n\r\nGET k\r\n", count) + "PING") // 40 MB of replies
			ran := ""
			eventually(t, func() string {
				before := ran
				w.send("GET n")
				if ran = w.bulk(); ran != before {
					time.Sleep(200 * time.Millisecond)
					return "it goes on"
				}
				return ""
			})
			if ran == fmt.Sprint(count) {
				t.Error("everything was executed, though nothing was read")
			}
			for i := range count {
				c.expect(fmt.Sprintf(":%d", i+1))
				c.discard(1, 10_000)
			}
			c.expect("+PONG")
		})
	}
}

// A client that neither takes replies nor sends anything is cut off in the end, even though its replies are kept.
func TestUnsentRepliesOfTheSilent(t *testing.T) {
	n := resptest.Start(t, resp.Options{StallTimeout: time.Second})
	w := dial(t, n.Addr)
	w.do("SETRANGE k 999999 x", ":1000000")
	c := dial(t, n.Addr)
	c.do("PING", "+PONG")
	c.send(strings.Repeat("GET k\r\n", 50) + "PING")
	eventually(t, func() string {
		w.send("INFO clients")
		if !strings.Contains(w.bulk(), "connected_clients:1\r\n") {
			return "it stays"
		}
		return ""
	})
}

// A client that reads slowly, and keeps sending all the while, gets all replies in order.
func TestUnsentRepliesOfTheSlow(t *testing.T) {
	n := resptest.Start(t, resp.Options{MaxLong: 8 << 20, StallTimeout: 30 * time.Second})
	w := dial(t, n.Addr)
	w.do("SETRANGE k 99999 x", ":100000")
	c := dial(t, n.Addr)
	const rounds, each = 60, 5
	go func() {
		one := []byte(strings.Repeat("INCR n\r\nGET k\r\n", each))
		for range rounds {
			_, _ = c.nc.Write(one) // the reads below reveal an error
			time.Sleep(20 * time.Millisecond)
		}
	}()
	for i := range rounds * each {
		c.expect(fmt.Sprintf(":%d", i+1))
		c.discard(1, 100_000)
		if i%each == 0 {
			time.Sleep(60 * time.Millisecond)
		}
	}
}
