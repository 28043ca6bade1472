package conformance

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// maxBulk is the longest value of both servers, in bytes: Redis allows nothing below 1 MiB.
const maxBulk = 1 << 20

// startRedis runs a redis-server for the test and returns its address.
func startRedis(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CONFORMANCE_REQUIRED") != "" {
			t.Fatal(err)
		}
		t.Skip("redis-server is not installed; make conformance installs it")
	}
	var out bytes.Buffer
	for range 5 { // the port may be taken between choosing and listening
		port := freePort(t)
		ctx, cancel := context.WithCancel(context.Background())
		cmd := exec.CommandContext(ctx, path, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
			"--databases", "1", "--proto-max-bulk-len", strconv.Itoa(maxBulk), "--dir", t.TempDir(), "--enable-debug-command", "yes")
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan struct{})
		go func() { _ = cmd.Wait(); close(exited) }()
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if answers(addr, exited) {
			t.Cleanup(func() { cancel(); <-exited })
			return addr
		}
		cancel()
		<-exited
	}
	t.Fatalf("redis-server does not start:\n%s", out.String())
	return ""
}

func freePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// answers waits until addr accepts connections.
func answers(addr string, exited <-chan struct{}) bool {
	for range 500 {
		if nc, err := net.Dial("tcp", addr); err == nil {
			_ = nc.Close()
			return true
		}
		select {
		case <-exited:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

// startNode runs the server under test and returns its address. CONFORMANCE_NODE names one that runs already: it must
// allow DEBUG, have the same longest value as Redis here, and lose its data without regret.
func startNode(t testing.TB) string {
	t.Helper()
	if addr := os.Getenv("CONFORMANCE_NODE"); addr != "" {
		return addr
	}
	return resptest.Start(t, resp.Options{EnableDebug: true, Limits: resp.Limits{MaxBulk: maxBulk}}).Addr
}
