// Package cgroup creates and clears the control groups of the cluster, on hosts with cgroup v1 (one hierarchy per controller) or
// v2 (one for all). Everything lies below one group, so clearing it leaves nothing behind.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Host is the host's cgroup file system.
type Host struct {
	mounts []string // v1: one directory for each hierarchy; v2: the one root
	v2     bool
}

// Detect finds out which cgroup version this host runs.
func Detect() (Host, error) {
	const root = "/sys/fs/cgroup"
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		return Host{}, fmt.Errorf("read cgroup file system: %w", err)
	}
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		return Host{mounts: []string{root}, v2: true}, nil
	}
	info, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return Host{}, fmt.Errorf("read mounts: %w", err)
	}
	defer info.Close()
	mounts := v1Mounts(bufio.NewScanner(info))
	if len(mounts) == 0 {
		return Host{}, errors.New("find cgroup hierarchies: none is mounted below " + root)
	}
	return Host{mounts: mounts}, nil
}

// v1Mounts returns the mount points of file system type "cgroup".
func v1Mounts(lines *bufio.Scanner) []string {
	var mounts []string
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		dash := slices.Index(fields, "-")
		if dash > 4 && len(fields) > dash+1 && fields[dash+1] == "cgroup" && !slices.Contains(mounts, fields[4]) {
			mounts = append(mounts, fields[4])
		}
	}
	return mounts
}

// Group is one control group, named by its path from the root of every hierarchy.
type Group struct {
	host Host
	path string
}

// Group returns the group at path. It creates nothing.
func (h Host) Group(path string) Group { return Group{host: h, path: strings.Trim(path, "/")} }

// Path returns the group's path from the root, in the form of kubelet's cgroupRoot.
func (g Group) Path() string { return "/" + g.path }

// Child returns a group below g.
func (g Group) Child(name string) Group { return Group{host: g.host, path: g.path + "/" + name} }

// Create creates the group and its ancestors, ready for child groups. With v1, a cpuset is filled in from its parent, since an
// empty one accepts no process. With v2, every controller is delegated.
func (g Group) Create() error {
	for _, mount := range g.host.mounts {
		dir := mount
		if err := g.host.delegate(dir); err != nil {
			return err
		}
		for part := range strings.SplitSeq(g.path, "/") {
			parent := dir
			dir = filepath.Join(dir, part)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("create cgroup: %w", err)
			}
			if err := g.host.prepare(parent, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h Host) prepare(parent, dir string) error {
	if h.v2 {
		return h.delegate(dir)
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		from, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read parent cpuset: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), from, 0o644); err != nil {
			return fmt.Errorf("fill in cpuset: %w", err)
		}
	}
	return nil
}

// delegate enables every controller that dir has for the children of dir. It skips controllers that cannot be delegated (for
// instance, real-time tasks hold "cpu").
func (h Host) delegate(dir string) error {
	if !h.v2 {
		return nil
	}
	available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("read cgroup controllers: %w", err)
	}
	for controller := range strings.FieldsSeq(string(available)) {
		err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
		if err != nil && (controller == "memory" || controller == "pids") {
			return fmt.Errorf("hand down cgroup controller %s below %s: %w", controller, dir, err)
		}
	}
	return nil
}

// CreateLeaf creates a group for processes, without child groups, and returns the file through which a process joins it. With v1,
// a process joins only the hierarchy for finding processes; its memory and CPU accounting stays where it was.
func (g Group) CreateLeaf() (procs string, err error) {
	dir := filepath.Join(g.host.primary(), g.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("create cgroup: %w", err)
	}
	return filepath.Join(dir, "cgroup.procs"), nil
}

// primary returns the hierarchy for finding processes: v2's only one, or v1's "pids" if there is one.
func (h Host) primary() string {
	for _, mount := range h.mounts {
		if filepath.Base(mount) == "pids" {
			return mount
		}
	}
	return h.mounts[0]
}

// Dir returns the group's directory in the hierarchy for finding processes.
func (g Group) Dir() string { return filepath.Join(g.host.primary(), g.path) }

// Processes returns the PIDs, in the caller's PID namespace, of every process in g or below it, in any hierarchy.
func (g Group) Processes() ([]int, error) {
	seen := map[int]bool{}
	for _, dir := range g.dirs() {
		content, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EOPNOTSUPP) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read cgroup processes: %w", err)
		}
		for field := range strings.FieldsSeq(string(content)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return nil, fmt.Errorf("parse cgroup process: %w", err)
			}
			if pid > 0 {
				seen[pid] = true
			}
		}
	}
	pids := make([]int, 0, len(seen))
	for pid := range seen {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids, nil
}

// Exists reports whether any hierarchy has the group.
func (g Group) Exists() bool { return len(g.dirs()) > 0 }

// dirs lists g and every group below it, children before their parents, in all hierarchies.
func (g Group) dirs() []string {
	var dirs []string
	for _, mount := range g.host.mounts {
		// A group that vanishes during the walk counts as never seen.
		_ = filepath.WalkDir(filepath.Join(mount, g.path), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
	}
	slices.Reverse(dirs)
	return dirs
}

// Clear kills every process in g and below it, and removes the groups. It gives up after the bound.
func (g Group) Clear(bound time.Duration) error {
	deadline := time.Now().Add(bound)
	for {
		pids, err := g.Processes()
		if err != nil {
			return err
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("kill process %d of cgroup %s: %w", pid, g.path, err)
			}
		}
		var last error
		for _, dir := range g.dirs() {
			if err := unix.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				last = err
			}
		}
		if !g.Exists() {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("remove cgroup %s within %s: %w", g.path, bound, last)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
