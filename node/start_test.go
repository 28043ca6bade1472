package node

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/go-logr/logr"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A node that cannot start says why, and releases its ports. (It panicked if the volume was in use, as by the previous
// pod that was deleted by force. Found in the log of a pod.)
func TestStartInADirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	first, err := Start(context.Background(), Options{Data: dir, Listen: "127.0.0.1:0", Memory: 32 << 20, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Stop() }()
	for range 5 { // another process may take the port in the meantime
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		_ = l.Close()
		second, err := Start(context.Background(), Options{Data: dir, Listen: address, Memory: 32 << 20, Log: logr.Discard()})
		if err == nil {
			_ = second.Stop()
			t.Fatal("two nodes share a directory")
		}
		t.Log(err)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		l, err = net.Listen("tcp", address)
		if err == nil {
			_ = l.Close()
			return
		}
		t.Logf("the port of the node that did not start: %v", err)
	}
	t.Error("its port is not free again, in none of five tries")
}

// The metrics port serves metrics and nothing else: a scraper of a member must not be able to give it orders.
func TestTheMetricsPortTakesNoOrders(t *testing.T) {
	n, err := Start(context.Background(), Options{
		Data: t.TempDir(), Listen: "127.0.0.1:0", MetricsListen: "127.0.0.1:0", Memory: 32 << 20, Log: logr.Discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Stop() }()
	if n.ControlAddr() != nil {
		t.Error("the control port is open")
	}
	url := "http://" + n.MetricsAddr().String()
	r, err := http.Get(url + wire.PathMetrics)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if page, err := io.ReadAll(r.Body); err != nil || r.StatusCode != http.StatusOK || !strings.Contains(string(page), "\nreplicatedstore_") {
		t.Errorf("%s %v: %.200s", r.Status, err, page)
	}
	for _, path := range []string{wire.PathFence, wire.PathPromote, wire.PathFollow, wire.PathConfigure, wire.PathHandover, wire.PathStatus, "/debug/pprof/heap"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			req, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			r, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = r.Body.Close()
			if r.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s: %s", method, path, r.Status)
			}
		}
	}
}
