package resp_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// severalLong runs a node with eight values of 4 MiB, which together exceed the memory for long replies, and six of 200 kB. mget reads the
// eight.
func severalLong(t *testing.T, change func(*resp.Options)) (n *resptest.Node, mget string) {
	t.Helper()
	o := resp.Options{MaxLong: 10 << 20, MaxLarge: 10 << 20, Limits: resp.Limits{MaxBulk: 4 << 20}, MaxOutput: 40 << 20}
	change(&o)
	n = resptest.Start(t, o)
	w := dial(t, n.Addr)
	mget = "MGET"
	for i := range 8 {
		makeLong(w, fmt.Sprint("big", i), 4<<20)
		mget += fmt.Sprint(" big", i)
	}
	for i := range 6 {
		makeLong(w, fmt.Sprint("mid", i), 200_000)
	}
	return n, mget
}

// A client that asks for more than the memory for long replies, and is slow to take it, does not keep others from reading and writing long
// values. Neither do several such clients, of which all but the first wait.
func TestASlowReaderDoesNotHoldUpOthers(t *testing.T) {
	n, mget := severalLong(t, func(*resp.Options) {})
	var slow []*wire // these read nothing in the meantime
	before := []string{"", ":1", "", "+OK +QUEUED *1"}
	for _, ask := range []string{mget, "INCR n\r\n" + mget, mget, "MULTI\r\n" + mget + "\r\nEXEC"} {
		c := dial(t, n.Addr)
		c.send(ask)
		someIsHeld(t, n)
		slow = append(slow, c)
	}
	time.Sleep(100 * time.Millisecond)
	var all sync.WaitGroup
	for ask, want := range map[string]string{
		"SET other 1":                         "+OK",
		"GET mid0":                            "$200000",
		"APPEND mid1 x":                       ":200001",
		"SETRANGE mid2 5 abc":                 ":200000",
		"GETDEL mid3":                         "$200000",
		"MULTI\r\nAPPEND mid4 y\r\nEXEC":      "+OK +QUEUED *1 :200001",
		"INCR m\r\nGET mid5":                  ":1 $200000",
		"EXPIRE big0 1000\r\nSTRLEN big1":     ":1 :4194304",
		"MULTI\r\nGET mid0\r\nINCR i\r\nEXEC": "+OK +QUEUED +QUEUED *2 $200000",
	} {
		c := dial(t, n.Addr)
		all.Go(func() {
			c.send(ask)
			c.expect(strings.Fields(want)...) // within the time that tests have
		})
	}
	all.Wait()
	if held := n.Server.Held(); held > (10+10+40)<<20 {
		t.Errorf("%d MiB are held", held>>20)
	}
	for i, c := range slow {
		all.Go(func() {
			c.expect(append(strings.Fields(before[i]), "*8")...)
			c.discard(8, 4<<20)
		})
	}
	all.Wait()
	noneIsHeld(t, n)
}

// A write that waits too long for its turn is not run, and is answered accordingly. The writes before it in the pipeline are run, and do not get
// an unknown outcome because of it.
func TestAWriteDoesNotWaitForItsTurnForEver(t *testing.T) {
	n, _ := severalLong(t, func(o *resp.Options) { o.CommitTimeout = 5 * time.Second })
	var slow []*wire
	for range 10 { // more than may be lent
		c := dial(t, n.Addr)
		_ = c.nc.(*net.TCPConn).SetReadBuffer(16 << 10) // otherwise the kernel might buffer the whole reply
		c.send("GET big0")
		slow = append(slow, c)
	}
	eventually(t, func() string {
		if held := n.Server.Held(); held < 16<<20 { // half of them lent
			return fmt.Sprintf("%d bytes are held", held)
		}
		return ""
	})
	c, d := dial(t, n.Addr), dial(t, n.Addr)
	c.send("SET before 1", "GETDEL mid0", "SET after 1")
	c.expect("+OK", "-TRYAGAIN nothing was written: other clients have held the memory for long values for 5s; try again", "+OK")
	d.send("SET before 2", "MULTI", "GET mid1", "SET in 1", "EXEC", "MGET before after in", "EXISTS mid0")
	d.expect("+OK", "+OK", "+QUEUED", "+QUEUED",
		"-EXECABORT Transaction discarded because of: TRYAGAIN nothing was written: other clients have held the memory for long values for 5s; try again",
		"*3", "$1", "2", "$1", "1", "$-1", ":1")
	d.do("APPEND mid0 x", ":200001") // APPEND does not reply with the value, so it need not wait
	var all sync.WaitGroup
	for _, s := range slow {
		all.Go(func() { s.discard(1, 4<<20) })
	}
	all.Wait()
	c.do("GETDEL before", "$1", "2")
	noneIsHeld(t, n)
	eventuallyNone(t, n.Server.Rationed)
}

// The connections of clients that hang up while they wait for their turn are closed.
func TestWhoHangsUpWhileWaitingForTheTurnIsGone(t *testing.T) {
	n, mget := severalLong(t, func(o *resp.Options) { o.MaxClients = 40 })
	dial(t, n.Addr).send(mget)
	someIsHeld(t, n)
	time.Sleep(100 * time.Millisecond)
	for i := range 30 {
		c, err := net.Dial("tcp", n.Addr)
		if err != nil {
			t.Fatal(err)
		}
		ask := mget // on a view; below, in the sequencer and in a transaction
		switch i % 3 {
		case 1:
			ask = "INCR n\r\n" + mget + "\r\nSET never 1"
		case 2:
			ask = "MULTI\r\n" + mget + "\r\nSET never 1\r\nEXEC"
		}
		fmt.Fprintf(c, "%s\r\n", ask)
		time.Sleep(10 * time.Millisecond)
		_ = c.Close()
	}
	w := dial(t, n.Addr)
	eventually(t, func() string {
		w.send("INFO clients")
		for line := range strings.Lines(w.bulk()) {
			if strings.HasPrefix(line, "connected_clients:") && strings.TrimSpace(line) != "connected_clients:3" {
				return line
			}
		}
		return ""
	})
	w.do("EXISTS never", ":0")
}
