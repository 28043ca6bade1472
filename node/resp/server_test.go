package resp_test

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

func TestMaxClients(t *testing.T) {
	n := resptest.Start(t, resp.Options{MaxClients: 2})
	a, b := dial(t, n.Addr), dial(t, n.Addr)
	a.do("PING", "+PONG")
	b.do("PING", "+PONG")
	c := dial(t, n.Addr)
	c.expect("-ERR max number of clients reached")
	c.closed()
	a.do("QUIT", "+OK")
	a.closed()
	eventually(t, func() string {
		d := dial(t, n.Addr)
		d.send("PING")
		if got, err := d.r.ReadString('\n'); err != nil || got != "+PONG\r\n" {
			return fmt.Sprintf("the place is not free again: %q, %v", got, err)
		}
		return ""
	})
}

func TestIdleTimeout(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	w.do("CONFIG SET timeout 1", "+OK")
	w.closed()
}

func TestOutputLimit(t *testing.T) {
	n := resptest.Start(t, resp.Options{MaxOutput: 1 << 20})
	w := dial(t, n.Addr)
	w.do("SETRANGE a 299999 x", ":300000")
	w.do("STRLEN a", ":300000")
	w.send("MGET a a a a a")
	w.closed()
	w = dial(t, n.Addr)
	w.send("MGET a a a") // below the limit
	w.expect("*3", "$300000")
}

// A client that does not read its replies is closed, and does not hold up others.
func TestStalledReader(t *testing.T) {
	n := resptest.Start(t, resp.Options{StallTimeout: time.Second})
	w := dial(t, n.Addr)
	w.do("SETRANGE a 999999 x", ":1000000")
	for range 200 {
		if _, err := w.nc.Write([]byte("GET a\r\n")); err != nil {
			break
		}
	}
	other := dial(t, n.Addr)
	other.do("PING", "+PONG")
	eventually(t, func() string {
		other.send("INFO clients")
		if info := other.bulk(); !strings.Contains(info, "connected_clients:1\r\n") {
			return info
		}
		return ""
	})
}

func TestLongPipeline(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	const commands = 20000
	go func() {
		var b strings.Builder
		for i := range commands {
			fmt.Fprintf(&b, "INCR n\r\nGET n\r\nPING %d\r\n", i)
		}
		_, _ = io.WriteString(w.nc, b.String()) // missing replies reveal a failure
	}()
	for i := range commands {
		v := strconv.Itoa(i + 1)
		p := strconv.Itoa(i)
		w.expect(":"+v, "$"+strconv.Itoa(len(v)), v, "$"+strconv.Itoa(len(p)), p)
	}
}

func TestLargeValue(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	db := redis.NewClient(&redis.Options{Addr: n.Addr, ReadTimeout: testTimeout, WriteTimeout: testTimeout})
	defer func() { _ = db.Close() }()
	value := strings.Repeat("0123456789abcdef", 20<<16)
	if err := db.Set(t.Context(), "big", value, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := db.Get(t.Context(), "big").Result(); err != nil || got != value {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

func TestConcurrentClients(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	const clients, times = 16, 200
	var group sync.WaitGroup
	for range clients {
		w := dial(t, n.Addr)
		group.Go(func() {
			for range times {
				if _, err := io.WriteString(w.nc, "INCR n\r\nINCR n\r\nGET n\r\n"); err != nil {
					t.Error(err)
					return
				}
				for range 4 {
					if _, err := w.r.ReadString('\n'); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	group.Wait()
	dial(t, n.Addr).do("INCRBY n 0", ":"+strconv.Itoa(2*clients*times))
}

func TestClientKill(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	a, b := dial(t, n.Addr), dial(t, n.Addr)
	b.do("CLIENT SETNAME victim", "+OK")
	a.send("CLIENT LIST")
	if list := a.bulk(); strings.Count(list, "\n") != 2 || !strings.Contains(list, "name=victim") {
		t.Fatalf("list %q", list)
	}
	b.send("WAIT 5 0") // blocked
	eventually(t, func() string {
		a.send("INFO clients")
		if info := a.bulk(); !strings.Contains(info, "blocked_clients:1\r\n") {
			return info
		}
		return ""
	})
	a.do("CLIENT KILL ADDR "+b.nc.LocalAddr().String(), ":1")
	b.closed()
	a.do("CLIENT KILL "+a.nc.LocalAddr().String(), "+OK")
	a.closed()
}

// The replies to the commands before a blocking command do not wait for it.
func TestRepliesBeforeAWait(t *testing.T) {
	leader, follower := forwardingPair(t)
	for name, n := range map[string]*resptest.Node{"leader": leader, "follower": follower} {
		w, other := dial(t, n.Addr), dial(t, n.Addr)
		w.send("SET a 1", "WAIT 5 0", "PING")
		w.expect("+OK")
		eventually(t, func() string {
			other.send("CLIENT LIST")
			if list := other.bulk(); !strings.Contains(list, "cmd=wait") {
				return fmt.Sprintf("%s: nobody waits: %s", name, list)
			}
			return ""
		})
		_ = w.nc.Close()
	}
}

func TestGoRedis(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	for _, protocol := range []int{2, 3} {
		db := redis.NewClient(&redis.Options{Addr: n.Addr, Protocol: protocol, ClientName: "test", ReadTimeout: testTimeout})
		defer func() { _ = db.Close() }()
		ctx := t.Context()
		if err := db.Set(ctx, "k", "v", time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		if got, err := db.Get(ctx, "k").Result(); got != "v" || err != nil {
			t.Fatalf("get: %q, %v", got, err)
		}
		if _, err := db.Get(ctx, "none").Result(); err != redis.Nil {
			t.Fatalf("absent: %v", err)
		}
		if got, err := db.LCS(ctx, &redis.LCSQuery{Key1: "k", Key2: "k", Idx: true}).Result(); err != nil || got.Len != 1 {
			t.Fatalf("lcs: %+v, %v", got, err)
		}
		cmds, err := db.Command(ctx).Result()
		if err != nil || cmds["set"] == nil || cmds["set"].Arity != -3 || cmds["mset"].StepCount != 2 {
			t.Fatalf("command: %v", err)
		}
		if err := db.Watch(ctx, func(tx *redis.Tx) error {
			_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.Incr(ctx, "n")
				return nil
			})
			return err
		}, "n"); err != nil {
			t.Fatalf("transaction: %v", err)
		}
		if info, err := db.InfoMap(ctx).Result(); err != nil || info["Replication"]["role"] != "master" || info["ReplicatedStore"]["writable"] != "1" {
			t.Fatalf("info: %v, %v", info, err)
		}
	}
}

func TestDebugIsOffByDefault(t *testing.T) {
	w := dial(t, resptest.Start(t, resp.Options{}).Addr)
	w.do("DEBUG SLEEP 0", "-ERR DEBUG command not allowed...")
	w.do("SHUTDOWN", "-ERR SHUTDOWN is refused...")
}

func TestMetrics(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	w.send("SET a 1", "GET a", "nosuch", "PING")
	w.expect("+OK", "$1", "1", "-ERR unknown...", "+PONG")
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(n.Server.Collector())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			key := f.GetName()
			for _, l := range m.Label {
				key += "," + l.GetValue()
			}
			switch {
			case m.Counter != nil:
				got[key] = m.Counter.GetValue()
			case m.Gauge != nil:
				got[key] = m.Gauge.GetValue()
			case m.Histogram != nil:
				got[key] = float64(m.Histogram.GetSampleCount())
			}
		}
	}
	for key, want := range map[string]float64{
		"replicatedstore_clients": 1, "replicatedstore_client_connections_total,accepted": 1,
		"replicatedstore_commands_total,string,write": 1, "replicatedstore_commands_total,string,read": 1,
		"replicatedstore_commands_total,connection,other": 1, "replicatedstore_error_replies_total,ERR": 1,
		"replicatedstore_command_duration_seconds,write": 3, // refused commands are not counted
		"replicatedstore_outcome_unknown_total":          0,
	} {
		if got[key] != want {
			t.Errorf("%s = %v, want %v", key, got[key], want)
		}
	}
}

// A client that takes its reply slowly but steadily gets all of it.
func TestASlowReaderGetsAllOfALongReply(t *testing.T) {
	n := resptest.Start(t, resp.Options{StallTimeout: 8 * time.Second})
	const size = 32 << 20 // which takes at least 18 s, even though the kernel may keep 10 MiB: 4 MiB take 2.4 s
	w := dial(t, n.Addr)
	w.do("SET k x", "+OK")
	w.do(fmt.Sprintf("SETRANGE k %d y", size-1), fmt.Sprintf(":%d", size))
	w.send("GET k")
	began, got, part := time.Now(), 0, make([]byte, 512<<10)
	for got < size {
		w.renew()
		m, err := io.ReadFull(w.r, part)
		if got += m; err != nil && got < size {
			t.Fatalf("the end after %d bytes and %v: %v", got, time.Since(began), err)
		}
		time.Sleep(300 * time.Millisecond)
		if size-got < len(part) {
			part = part[:max(1, size-got)]
		}
	}
}

func TestLongNamesAreNotKept(t *testing.T) {
	w := dial(t, resptest.Start(t, resp.Options{}).Addr)
	fits, long := strings.Repeat("n", 1024), strings.Repeat("n", 1025)
	w.do("CLIENT SETNAME "+fits, "+OK")
	w.do("CLIENT SETNAME "+long, "-ERR Client names cannot be longer than 1024 bytes.")
	w.do("CLIENT GETNAME", "$1024", fits)
	w.do("CLIENT SETINFO lib-name "+fits, "+OK")
	w.do("CLIENT SETINFO lib-ver "+long, "-ERR lib-ver cannot be longer than 1024 bytes.")
	w.do("HELLO 2 SETNAME "+long, "-ERR Client names cannot be longer than 1024 bytes.")
}

// CLIENT LIST shows which clients are in MULTI, and how many commands they have queued.
func TestClientListTellsOfTransactions(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w, looks := dial(t, n.Addr), dial(t, n.Addr)
	w.do("CLIENT SETNAME here", "+OK")
	told := func(want string) {
		t.Helper()
		looks.send("CLIENT LIST")
		for line := range strings.Lines(looks.bulk()) {
			if strings.Contains(line, " name=here ") && strings.Contains(line, want) {
				return
			}
		}
		t.Fatalf("CLIENT LIST does not say %q", want)
	}
	told(" flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 ")
	w.do("MULTI", "+OK")
	told(" flags=x db=0 sub=0 psub=0 ssub=0 multi=0 ")
	w.do("SET a 1", "+QUEUED")
	told(" multi=1 ")
	w.do("EXEC", "*1", "+OK")
	told(" flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 ")
}

// A client that wants no replies gets none to a malformed request either.
func TestNoReplyToAMalformedRequest(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	for _, quiet := range []string{"CLIENT REPLY OFF", "CLIENT REPLY SKIP"} {
		w := dial(t, n.Addr)
		w.send(quiet, "*1", "!")
		w.closed()
	}
	w := dial(t, n.Addr)
	w.send("*1", "!")
	w.expect("-ERR Protocol error: expected '$', got '!'")
	w.closed()
}

// A setting that is asked for twice is shown once, under the name that was used first.
func TestConfigGetTellsASettingOnce(t *testing.T) {
	dial(t, resptest.Start(t, resp.Options{}).Addr).do("CONFIG GET AppendOnly appendonly append*nly", "*2", "$10", "AppendOnly", "$3", "yes")
}
