package conformance

import (
	"os/exec"
	"strings"
	"testing"
)

// TestTools runs the programs that come with Redis against the node.
func TestTools(t *testing.T) {
	addr := startNode(t, "")
	host, port, _ := strings.Cut(addr, ":")
	for name, args := range map[string][]string{
		"redis-benchmark": {"-t", "ping,set,get,incr,mset", "-n", "5000", "-c", "20", "-P", "16", "-r", "1000", "-q"},
		"redis-cli":       {"--no-raw", "SET", "a", "b", "EX", "100"},
	} {
		out, err := exec.CommandContext(t.Context(), program(t, name), append([]string{"-h", host, "-p", port}, args...)...).CombinedOutput()
		if err != nil || strings.Contains(string(out), "rror") || strings.Contains(string(out), "WARN") {
			t.Errorf("%s %v: %v\n%s", name, args, err, out)
		}
		t.Logf("%s", out)
	}
}
