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

	"github.com/prometheus/procfs"

	"github.com/replicatedstore/replicatedstore/hack/local/fleet"
)

// resident returns a process's resident memory, in bytes.
func resident(pid int) (int64, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0, err
	}
	status, err := p.NewStatus()
	return int64(status.VmRSS), err
}

// sum adds up a figure over processes.
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

// receivedFrom returns how many bytes processes have received over connections to a loopback port, without headers.
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

// pids returns the process ids of a fleet's leader and of its other members.
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

// logBytes returns how much of a member's log files is in use: everything behind that is zeros.
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

// processorTime returns the CPU time that a process has used, in nanoseconds. The kernel reports it in hundredths of a second.
func processorTime(pid int) (int64, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0, err
	}
	stat, err := p.Stat()
	return int64(stat.CPUTime() * float64(time.Second)), err
}
