package cgroup

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestV1Mounts(t *testing.T) {
	const info = `24 1 0:22 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
25 24 0:23 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
26 24 0:24 / /sys/fs/cgroup/pids rw,relatime shared:5 master:2 - cgroup cgroup rw,pids
27 24 0:25 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
28 24 0:24 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
`
	got := v1Mounts(bufio.NewScanner(strings.NewReader(info)))
	if want := []string{"/sys/fs/cgroup/cpuset", "/sys/fs/cgroup/pids"}; !slices.Equal(got, want) {
		t.Fatalf("mounts = %v, want %v", got, want)
	}
}

func write(t *testing.T, content string, path ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(path...), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// Plain directories stand in for hierarchies. The test writes the kernel's files in advance where the code reads them.
func TestCreateFillsInCpusets(t *testing.T) {
	cpuset, pids := t.TempDir(), filepath.Join(t.TempDir(), "pids")
	write(t, "0-1", cpuset, "cpuset.cpus")
	write(t, "0", cpuset, "cpuset.mems")
	if err := os.Mkdir(pids, 0o755); err != nil {
		t.Fatal(err)
	}
	group := Host{mounts: []string{cpuset, pids}}.Group("rstore-1").Child("n1")
	if err := group.Create(); err != nil {
		t.Fatal(err)
	}
	for _, level := range []string{"rstore-1", "rstore-1/n1"} {
		if got := read(t, cpuset, level, "cpuset.cpus"); got != "0-1" {
			t.Errorf("cpus of %s = %q", level, got)
		}
		if got := read(t, cpuset, level, "cpuset.mems"); got != "0" {
			t.Errorf("mems of %s = %q", level, got)
		}
	}
	if group.Path() != "/rstore-1/n1" || group.Dir() != filepath.Join(pids, "rstore-1/n1") {
		t.Errorf("path %s, dir %s", group.Path(), group.Dir())
	}
}

func TestCreateHandsDownV2Controllers(t *testing.T) {
	root := t.TempDir()
	write(t, "cpu memory pids\n", root, "cgroup.controllers")
	for _, level := range []string{"rstore-1", "rstore-1/n1"} {
		if err := os.MkdirAll(filepath.Join(root, level), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, "cpu memory pids\n", root, level, "cgroup.controllers")
	}
	if err := (Host{mounts: []string{root}, v2: true}).Group("rstore-1/n1").Create(); err != nil {
		t.Fatal(err)
	}
	for _, level := range []string{"", "rstore-1", "rstore-1/n1"} {
		if got := read(t, root, level, "cgroup.subtree_control"); got != "+pids" { // a real file accumulates; the last write was pids
			t.Errorf("subtree_control of %q = %q", level, got)
		}
	}
}

func TestProcessesAndClear(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	group := Host{mounts: []string{a, b}}.Group("rstore-1")
	if group.Exists() {
		t.Fatal("exists before it was made")
	}
	if err := group.Clear(time.Second); err != nil {
		t.Fatalf("clear nothing: %v", err)
	}
	if err := group.Child("n1").Child("pod").Create(); err != nil {
		t.Fatal(err)
	}
	write(t, "41\n7\n", a, "rstore-1/n1/pod", "cgroup.procs")
	write(t, "7\n0\n9\n", b, "rstore-1/n1", "cgroup.procs")
	got, err := group.Processes()
	if err != nil || !slices.Equal(got, []int{7, 9, 41}) {
		t.Fatalf("processes = %v, %v", got, err)
	}
	for _, f := range []string{filepath.Join(a, "rstore-1/n1/pod/cgroup.procs"), filepath.Join(b, "rstore-1/n1/cgroup.procs")} {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := group.Clear(time.Second); err != nil || group.Exists() {
		t.Fatalf("clear: %v, exists %v", err, group.Exists())
	}
}
