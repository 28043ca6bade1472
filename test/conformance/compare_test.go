package conformance

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pair is the two servers that are compared, at one protocol version.
type pair struct {
	t        testing.TB
	redis    string
	node     string
	protocol string
}

func newPair(t testing.TB, protocol string) *pair {
	return &pair{t: t, redis: startRedis(t), node: startNode(t, ""), protocol: protocol}
}

// mismatch is the first difference in a list of commands.
type mismatch struct {
	index       int
	redis, node string
}

// run empties both servers, sends cmds to both on new connections, and returns the first difference. pipeline is how many commands
// the node gets at once. Redis always gets them one by one, because a pipeline must give the same result.
func (p *pair) run(cmds []command, pipeline int) *mismatch {
	a, b := dial(p.t, p.redis), dial(p.t, p.node)
	defer func() { _ = a.nc.Close(); _ = b.nc.Close() }()
	for _, c := range []*client{a, b} {
		for _, reply := range c.do(command{"HELLO", p.protocol}, command{"FLUSHALL"}) {
			if strings.HasPrefix(reply, "-") || strings.HasPrefix(reply, "<") {
				p.t.Fatalf("prepare: %q", reply)
			}
		}
	}
	begun := time.Now()
	for from := 0; from < len(cmds); from += pipeline {
		part := cmds[from:min(from+pipeline, len(cmds))]
		got := b.do(part...)
		for i, cmd := range part {
			want := a.do(cmd)[0]
			if !same(cmd, want, got[i], time.Since(begun)) {
				return &mismatch{from + i, want, got[i]}
			}
			if want == "<closed>" {
				return nil
			}
		}
	}
	return nil
}

// check fails the test with the shortest list of commands that still shows a difference.
func (p *pair) check(cmds []command, pipeline int, note string) {
	p.t.Helper()
	m := p.run(cmds, pipeline)
	if m == nil {
		return
	}
	short, m := p.shrink(cmds[:m.index+1], m, pipeline)
	var list strings.Builder
	for _, c := range short {
		list.WriteString("\n    " + c.String())
	}
	p.t.Errorf("%s, RESP%s, pipelines of %d: replies differ to the last of:%s\n  redis: %.600q\n  node:  %.600q",
		note, p.protocol, pipeline, list.String(), m.redis, m.node)
}

// shrink removes commands as long as some difference remains.
func (p *pair) shrink(cmds []command, m *mismatch, pipeline int) ([]command, *mismatch) {
	for size := len(cmds) / 2; size >= 1; size /= 2 {
		for from := 0; from+size < len(cmds); {
			shorter := slices.Delete(slices.Clone(cmds), from, from+size)
			if again := p.run(shorter, pipeline); again != nil {
				cmds, m = shorter[:again.index+1], again
			} else {
				from += size
			}
		}
	}
	return cmds, m
}

// same compares two replies to cmd. The two servers ran all commands up to cmd within lag of each other.
func same(cmd command, redis, node string, lag time.Duration) bool {
	if redis == node {
		return true
	}
	name := strings.ToLower(cmd[0])
	switch name {
	case "ttl", "expiretime":
		return near(redis, node, 1+int64(lag/time.Second))
	case "pttl", "pexpiretime":
		return near(redis, node, 1500+lag.Milliseconds())
	case "keys":
		if slices.Equal(sortedLines(redis), sortedLines(node)) {
			return true
		}
	}
	for _, d := range knownDifferences {
		if d.applies(cmd, redis, node) {
			return true
		}
	}
	return false
}

// near compares two integer replies that depend on the current time.
func near(a, b string, tolerance int64) bool {
	x, y := integer(a), integer(b)
	return x >= 0 && y >= 0 && max(x-y, y-x) <= tolerance
}

// integer returns the number in an integer reply, or -1 if it is not one or is negative.
func integer(reply string) int64 {
	digits, ok := strings.CutPrefix(strings.TrimSuffix(reply, "\r\n"), ":")
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || n < 0 {
		return -1
	}
	return n
}

func sortedLines(s string) []string {
	lines := strings.Split(s, "\r\n")
	slices.Sort(lines)
	return lines
}
