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

	"github.com/replicatedstore/replicatedstore/hack/local/fleet"
)

// resident is what a process has in memory, in bytes.
func resident(pid int) (int64, error) { return procField(pid, "status", "VmRSS:", 1024) }

// written is what a process caused to be written to the disk, in bytes.
func written(pid int) (int64, error) { return procField(pid, "io", "write_bytes:", 1) }

func procField(pid int, file, name string, unit int64) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n * unit, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/%s has no %s", pid, file, name)
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
