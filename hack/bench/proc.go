package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/local/fleet"
)

// resident is what a process has in memory, in bytes.
func resident(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib * 1024, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no VmRSS", pid)
}

// sum of a figure over processes.
func sum(pids []int, figure func(int) (int64, error)) (total int64, err error) {
	for _, pid := range pids {
		n, err := figure(pid)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

var received = regexp.MustCompile(`bytes_received:(\d+)`)

// receivedFrom is what processes have received over connections to a port of loopback, in bytes, without headers.
func receivedFrom(ctx context.Context, pids []int, address string) (total int64, err error) {
	_, port, _ := strings.Cut(address, ":")
	out, err := exec.CommandContext(ctx, "ss", "-tinpHO", "dport", "=", ":"+port).Output()
	if err != nil {
		return 0, fmt.Errorf("run ss: %w", err)
	}
	for line := range bytes.Lines(out) {
		ours := slices.ContainsFunc(pids, func(pid int) bool { return bytes.Contains(line, fmt.Appendf(nil, "pid=%d,", pid)) })
		if m := received.FindSubmatch(line); ours && m != nil {
			n, err := strconv.ParseInt(string(m[1]), 10, 64)
			if err != nil {
				return 0, err
			}
			total += n
		}
	}
	return total, nil
}

// pids of a fleet's members: the leader's, and those of the others.
func pids(f *fleet.Fleet) (lead int, others []int) {
	for i := range f.Members() {
		if i == f.Leader() {
			lead = f.Pid(i)
		} else {
			others = append(others, f.Pid(i))
		}
	}
	return lead, others
}

// logBytes is how much of the log files of a member is in use: what follows is zeros.
func logBytes(dir string) (total int64, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "wal-*", "*.log"))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("no log below %s: %w", dir, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return 0, err
		}
		total += int64(len(bytes.TrimRight(b, "\x00")))
	}
	return total, nil
}

// processorTime is what a process has used, in nanoseconds; the kernel tells it in hundredths of a second.
func processorTime(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in parentheses, and may hold anything.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	const user, system = 14 - 3, 15 - 3 // fields are counted from 1; what is left begins with the third
	if len(fields) <= system {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields)+2)
	}
	total := int64(0)
	for _, field := range [][]byte{fields[user], fields[system]} {
		ticks, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		total += ticks * int64(time.Second/ticksPerSecond)
	}
	return total, nil
}

// ticksPerSecond of the times in /proc; the same on every architecture that Go runs on.
const ticksPerSecond = 100
