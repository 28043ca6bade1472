package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// Record identifies a process uniquely: PIDs are reused, but not with the same start time and boot.
type Record struct {
	Pid   int    `json:"pid"`   // in the host's PID namespace
	Start uint64 `json:"start"` // clock ticks since boot
	Boot  string `json:"boot"`
}

// self describes the calling process as the procfs mounted at /proc numbers it. init calls it before it mounts its own /proc, so
// the record has init's PID on the host.
func self() (Record, error) {
	link, err := os.Readlink("/proc/self")
	if err != nil {
		return Record{}, fmt.Errorf("read own process id: %w", err)
	}
	pid, err := strconv.Atoi(link)
	if err != nil {
		return Record{}, fmt.Errorf("parse own process id: %w", err)
	}
	return describe(pid)
}

func describe(pid int) (Record, error) {
	stat, err := stat(pid)
	if err != nil {
		return Record{}, fmt.Errorf("read status of process %d: %w", pid, err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Record{}, fmt.Errorf("read boot id: %w", err)
	}
	return Record{Pid: pid, Start: stat.Starttime, Boot: strings.TrimSpace(string(boot))}, nil
}

func stat(pid int) (procfs.ProcStat, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return procfs.ProcStat{}, err
	}
	return p.Stat()
}

// Ended reports whether a process is gone or a zombie.
func Ended(pid int) bool {
	s, err := stat(pid)
	return err != nil || s.State == "Z"
}

// LoadRecord reads the record of the init that was last started in dir. found is false if there was none.
func LoadRecord(dir string) (r Record, found bool, err error) {
	err = readJSON(filepath.Join(dir, recordFile), &r)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("load machine record: %w", err)
	}
	return r, true, nil
}

// open returns a pidfd of the recorded process, or ESRCH if that process is gone.
func (r Record) open() (int, error) {
	fd, err := unix.PidfdOpen(r.Pid, 0)
	if err != nil {
		return -1, err
	}
	// While we hold the descriptor the PID cannot be reused, so what we compare now stays true.
	now, err := describe(r.Pid)
	if err != nil || now != r {
		unix.Close(fd)
		return -1, unix.ESRCH
	}
	return fd, nil
}

// Alive reports whether the recorded process is running.
func (r Record) Alive() bool {
	fd, err := r.open()
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return !exited(fd, 0)
}

// Kill ends the machine immediately, like a power loss. It returns once the kernel has ended every process in it.
func (r Record) Kill(bound time.Duration) error {
	fd, err := r.open()
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find machine's init: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill machine's init: %w", err)
	}
	if !exited(fd, bound) {
		return fmt.Errorf("kill machine's init: process %d still runs after %s", r.Pid, bound)
	}
	return nil
}

// exited waits up to bound for the process behind a pidfd to end. The init of a PID namespace ends last.
func exited(fd int, bound time.Duration) bool {
	deadline := time.Now().Add(bound)
	for {
		left := max(0, time.Until(deadline))
		polls := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(polls, int(left.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && n > 0
	}
}

// HostPids returns the host's PIDs of the machine's running services, by name.
func HostPids(dir string, r Record) (map[string]int, error) {
	states, err := Services(dir)
	if err != nil {
		return nil, err
	}
	names := map[int]string{}
	for _, s := range states {
		if s.Pid > 0 {
			names[s.Pid] = s.Name
		}
	}
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", r.Pid))
	if err != nil {
		return nil, fmt.Errorf("read machine's process namespace: %w", err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	pids := map[string]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid)); err != nil || ns != namespace {
			continue
		}
		inner, err := InnermostPid(pid)
		if name := names[inner]; err == nil && name != "" {
			pids[name] = pid
		}
	}
	return pids, nil
}

// InnermostPid returns a process's PID in its own PID namespace: 1 for a container's main process.
func InnermostPid(pid int) (int, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0, err
	}
	status, err := p.NewStatus()
	if err != nil {
		return 0, err
	}
	if len(status.NSpids) == 0 {
		return 0, fmt.Errorf("find NSpid of process %d", pid)
	}
	return int(status.NSpids[len(status.NSpids)-1]), nil
}
