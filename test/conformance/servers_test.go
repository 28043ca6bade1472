package conformance

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// maxBulk is the maximum length of a value on both servers, in bytes. Redis allows no limit below 1 MiB.
const maxBulk = 1 << 20

// program finds a program of Redis. If the suite was requested explicitly, a missing program is a failure.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CONFORMANCE_REQUIRED") != "" {
			t.Fatal(err)
		}
		t.Skip(name + " is not installed; make conformance installs it")
	}
	return path
}

// startRedis runs a redis-server for the test, with additional flags, and returns its address.
func startRedis(t testing.TB, flags ...string) string {
	t.Helper()
	path := program(t, "redis-server")
	return run(t, func(port string) *exec.Cmd {
		return exec.Command(path, append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--databases", "1",
			"--proto-max-bulk-len", strconv.Itoa(maxBulk), "--dir", t.TempDir(), "--enable-debug-command", "yes"}, flags...)...)
	})
}

// startNode runs the server under test and returns its address: the client protocol alone, or the node binary that
// CONFORMANCE_BINARY names. The server requires the password unless it is "".
func startNode(t testing.TB, password string) string {
	t.Helper()
	binary := os.Getenv("CONFORMANCE_BINARY")
	if binary == "" {
		o := resp.Options{EnableDebug: true, Limits: resp.Limits{MaxBulk: maxBulk}}
		if password != "" {
			o.Passwords = resp.NewPasswords(password)
		}
		return resptest.Start(t, o).Addr
	}
	var flags []string
	if password != "" {
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		flags = []string{"--password-file", file}
	}
	addr := run(t, func(port string) *exec.Cmd {
		return exec.Command(binary, append(flags, "--data", t.TempDir(), "--listen", "127.0.0.1:"+port, "--max-value-bytes", strconv.Itoa(maxBulk))...)
	})
	for end := time.Now().Add(replyTimeout); ; time.Sleep(20 * time.Millisecond) { // it listens a moment before it leads
		reply := dial(t, addr).do(command{"AUTH", "default", password}, command{"FLUSHALL"})[1]
		if reply == "+OK\r\n" {
			return addr
		}
		if time.Now().After(end) {
			t.Fatalf("the node takes no writes: %q", reply)
		}
	}
}

// run starts a server on a free loopback port until the test ends, and returns its address.
func run(t testing.TB, command func(port string) *exec.Cmd) string {
	t.Helper()
	var out bytes.Buffer
	for range 5 { // the port may be taken after it was chosen
		port := strconv.Itoa(freePort(t))
		cmd := command(port)
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan struct{})
		go func() { _ = cmd.Wait(); close(exited) }()
		stop := func() {
			_ = cmd.Process.Kill() // it may have ended by itself
			<-exited
		}
		if addr := "127.0.0.1:" + port; answers(addr, exited) {
			t.Cleanup(stop)
			return addr
		}
		stop()
	}
	t.Fatalf("the server does not start:\n%s", out.String())
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
	for range 3000 {
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
