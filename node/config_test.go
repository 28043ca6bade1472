package node

import (
	"bufio"
	"context"
	"net"
	"strings"
	"testing"

	"github.com/go-logr/logr"
)

// Clients cannot change what the store's spec sets: nobody would see it, and a restart would undo it. INFO reports the
// version that the program was built with.
func TestClientsDoNotChangeWhatTheSpecSays(t *testing.T) {
	for _, managed := range []bool{true, false} {
		o := Options{Data: t.TempDir(), Listen: "127.0.0.1:0", Memory: 32 << 20, Version: "v1.2.3", Log: logr.Discard()}
		if managed {
			o.Managed, o.Store, o.Member, o.PeerListen, o.ControlListen = true, "s", "s-1", "127.0.0.1:0", "127.0.0.1:0"
		}
		n, err := Start(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", n.ports[portClient].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		line := func() string {
			text, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimSpace(text)
		}
		for setting, says := range map[string]string{
			"maxclients 7":                  "spec.node.maxClients",
			"commit-timeout-ms 50":          "spec.replication.writeTimeoutSeconds",
			"timeout 100 maxclients 7":      "spec.node.maxClients",
			"timeout 100 tcp-keepalive 100": "",
		} {
			if _, err := conn.Write([]byte("CONFIG SET " + setting + "\r\n")); err != nil {
				t.Fatal(err)
			}
			got := line()
			if refused := managed && says != ""; refused && !(strings.HasPrefix(got, "-ERR CONFIG SET failed") && strings.Contains(got, says)) || !refused && got != "+OK" {
				t.Errorf("managed %t, CONFIG SET %s: %s", managed, setting, got)
			}
		}
		if _, err := conn.Write([]byte("INFO server\r\n")); err != nil {
			t.Fatal(err)
		}
		told := ""
		for got := line(); !strings.HasPrefix(got, "uptime_in_days:"); got = line() {
			if text, ok := strings.CutPrefix(got, "replicatedstore_version:"); ok {
				told = text
			}
		}
		if told != o.Version {
			t.Errorf("managed %t: INFO tells version %q", managed, told)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}
