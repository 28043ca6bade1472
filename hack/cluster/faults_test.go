//go:build clustertest

package main

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func testCuts(t *testing.T, h *harness) {
	p1, p2 := h.waitReady(t, "p1"), h.waitReady(t, "p2")
	reach := func(what, pod, target string, want bool) {
		t.Helper()
		if _, err := h.ask(pod, "/fetch?url="+target); (err == nil) != want {
			t.Errorf("%s: %s reaches %s: %v, want %v", what, pod, target, err == nil, want)
		}
	}
	h.must(t, "cut", "n1", "--from", "n2")
	reach("cut from n2", "p3", url(p1, "/name"), true)
	reach("cut from n2", "p2", url(p1, "/name"), false)
	reach("cut from n2", "p1", url(p2, "/name"), false)
	if out, err := h.get(url(p1, "/name")); err != nil {
		t.Errorf("the client is not cut off: %v: %s", err, out)
	}
	h.must(t, "heal", "n1", "--from", "n2")
	reach("healed", "p2", url(p1, "/name"), true)

	h.must(t, "cut", "n1", "--from", "api")
	if out, err := h.ask("p1", "/name"); err == nil {
		t.Errorf("the API server reaches kubelet on a worker cut from it: %s", out)
	}
	if out, err := h.get(url(p1, "/fetch?url="+url(p2, "/name"))); err != nil || out != "p2" {
		t.Errorf("cut from api, n1 must still reach client and n2: %v: %s", err, out)
	}
	h.must(t, "heal")

	h.must(t, "cut", "n1", "--direction", "out")
	if out, err := h.get(url(p1, "/name")); err == nil {
		t.Errorf("a worker that is not heard answered %q", out)
	}
	if status := h.must(t, "status"); !strings.Contains(status, "nothing goes from n1 to all") ||
		strings.Contains(status, "nothing goes from all to n1") {
		t.Errorf("status:\n%s", status)
	}
	h.must(t, "heal", "n1")
	eventually(t, "n1 is heard again", answers("p1", func() (string, error) { return h.get(url(p1, "/name")) }))

	if out, err := h.run("cut", "n1", "--from", "nobody"); err == nil {
		t.Errorf("cut from a machine that does not exist: %s", out)
	}
	testCutStopsEstablished(t, h)
}

// testCutStopsEstablished holds a connection open during a cut: nothing arrives meanwhile, and what was sent arrives afterwards.
func testCutStopsEstablished(t *testing.T, h *harness) {
	ticks := h.stream(t, url(h.waitReady(t, "p1"), "/ticks"))
	await := func(bound time.Duration) bool {
		select {
		case _, open := <-ticks:
			return open
		case <-time.After(bound):
			return false
		}
	}
	if !await(patience) {
		t.Fatal("no tick before the cut")
	}
	h.must(t, "cut", "n1")
	for await(50 * time.Millisecond) { // drain what had arrived before
	}
	if await(time.Second) {
		t.Error("a tick went through the cut")
	}
	h.must(t, "heal", "n1")
	if !await(patience) {
		t.Error("the connection did not survive a short cut")
	}
}

// stream returns the endless lines from a probe, read on the client, until the test ends.
func (h *harness) stream(t *testing.T, url string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, h.program, "--state", h.state, "exec", "client", h.probe, "get", url)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	return lines
}

func testAPIOutage(t *testing.T, h *harness) {
	p2 := h.waitReady(t, "p2")
	h.must(t, "api-down")
	if out, err := h.kubectl("get", "nodes", "--request-timeout=2s"); err == nil {
		t.Errorf("a stopped API server answered: %s", out)
	}
	for _, address := range []string{url(p2, "/name"), "http://probe:8080/name"} {
		if out, err := h.get(address); err != nil {
			t.Errorf("without the API server, %s: %v: %s", address, err, out)
		}
	}
	h.must(t, "pause", "p2") // needs no API server
	h.must(t, "resume", "p2")
	h.must(t, "api-up")
	eventually(t, "the API server answers again", func() error {
		_, err := h.kubectl("get", "nodes")
		return err
	})
}

// TestInterruptedStart kills the harness at several moments of a start. Each time "down" must leave nothing, and a start after an
// interrupted one must work without it.
func TestInterruptedStart(t *testing.T) {
	h := newHarness(t)
	for _, after := range []time.Duration{20, 100, 200, 400, 800, 1600, 3000} {
		h.interruptedUp(t, after*time.Millisecond)
		h.must(t, "down")
		h.verifyNothingLeft(t)
	}
	h.interruptedUp(t, time.Second)
	h.must(t, "up", "--nodes", "1")
	if out := h.must(t, "up"); !strings.Contains(out, "is up already") {
		t.Errorf("second up: %s", out)
	}
	if out, err := h.run("down", "--verify"); err == nil {
		t.Errorf("verify found nothing of a running cluster: %s", out)
	}
	h.must(t, "down")
	h.verifyNothingLeft(t)
	h.must(t, "down") // nothing is up
}

// interruptedUp starts the cluster and kills the harness, and only the harness, after the given time.
func (h *harness) interruptedUp(t *testing.T, after time.Duration) {
	t.Helper()
	cmd := exec.Command(h.program, "--state", h.state, "up")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Logf("after %s: %v", after, err)
	}
	_ = cmd.Wait()
}
