package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/machine"
)

// oomBound limits how long a container's memory may take to run out.
const oomBound = 30 * time.Second

// OOM makes the kernel kill the main process of a pod's container for lack of memory. Another process joins the container's memory
// cgroup and takes everything that the limit leaves, while the main process is marked as the preferred victim.
func (l *Lab) OOM(ref PodRef) error {
	return l.eachContainer(ref, func(c container) error {
		if c.main == 0 {
			return fmt.Errorf("run container %s out of memory: it shares its process namespace", c.name)
		}
		dir, err := memoryDir(c.main)
		if err != nil {
			return fmt.Errorf("run container %s out of memory: %w", c.name, err)
		}
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", c.main), []byte("1000"), 0); err != nil {
			return fmt.Errorf("mark the main process of container %s: %w", c.name, err)
		}
		out, err := exec.Command(l.Program(), "inner", "hog", dir, strconv.Itoa(c.main)).CombinedOutput()
		if err != nil && !errors.Is(unix.Kill(c.main, 0), unix.ESRCH) { // whoever ends the container's cgroup ends the other process, too
			return fmt.Errorf("run container %s out of memory: %w: %s", c.name, err, strings.TrimSpace(string(out)))
		}
		return nil
	})
}

// memoryDir returns the cgroup that limits a process's memory. A cgroup without a limit must not be filled: it is the machine's.
func memoryDir(pid int) (string, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", err
	}
	dir, file := "", ""
	for line := range strings.Lines(string(content)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(fields) != 3:
		case fields[1] == "memory":
			dir, file = filepath.Join("/sys/fs/cgroup/memory", fields[2]), "memory.limit_in_bytes"
		case fields[0] == "0" && dir == "":
			dir, file = filepath.Join("/sys/fs/cgroup", fields[2]), "memory.max"
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return "", err
	}
	const most = 4 << 30
	if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err != nil || limit > most {
		return "", fmt.Errorf("it has no memory limit of at most %d bytes (%s)", int64(most), strings.TrimSpace(string(text)))
	}
	return dir, nil
}

// Hog allocates memory in a cgroup until the process pid is gone.
func Hog(dir, pid string) error {
	victim, err := strconv.Atoi(pid)
	if err != nil {
		return fmt.Errorf("parse process %q: %w", pid, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return fmt.Errorf("join the group: %w", err)
	}
	var taken [][]byte
	for deadline := time.Now().Add(oomBound); time.Now().Before(deadline); {
		if machine.Ended(victim) {
			return nil
		}
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		taken = append(taken, block)
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("process %d is still there after %d MiB", victim, len(taken))
}
