// Package volumetest gives tests a volume of their own that can really fill up: a small ext4 in a file, or one in memory,
// which can grow. It needs root.
package volumetest

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Volume is a mounted file system that is unmounted when the test ends.
type Volume struct {
	t testing.TB
	// Path is the mount point.
	Path string
	hog  int
}

// Mount makes a volume of mib MiB. A test that is not run by root fails, and so does one for which it cannot be made.
func Mount(t testing.TB, mib int64) *Volume {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("only root mounts a volume: run this test as root")
	}
	v := &Volume{t: t, Path: t.TempDir()}
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, mib<<20); err != nil {
		t.Fatal(err)
	}
	// Reserve no blocks for root: the tests run as root, and members do not.
	v.run("mkfs.ext4", "-q", "-m", "0", "-F", image)
	v.run("mount", "-o", "loop", image, v.Path)
	t.Cleanup(v.unmount)
	return v
}

// MountInMemory makes a volume of mib MiB in memory, which can grow.
func MountInMemory(t testing.TB, mib int64) *Volume {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("only root mounts a volume: run this test as root")
	}
	v := &Volume{t: t, Path: t.TempDir()}
	v.run("mount", "-t", "tmpfs", "-o", size(mib), "none", v.Path)
	t.Cleanup(v.unmount)
	return v
}

// unmount takes as long as a member that was stopped, or killed, still has files open.
func (v *Volume) unmount() {
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		out, err := exec.Command("umount", v.Path).CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			v.t.Errorf("umount %s: %v: %s", v.Path, err, out)
			return
		}
	}
}

func size(mib int64) string { return "size=" + strconv.FormatInt(mib, 10) + "m" }

// Grow enlarges an in-memory volume to mib MiB while it is in use.
func (v *Volume) Grow(mib int64) {
	v.t.Helper()
	v.run("mount", "-o", "remount,"+size(mib), v.Path)
}

// Hog takes everything that is free now, as another user of the volume would, until the returned function is called.
func (v *Volume) Hog() (release func()) {
	v.t.Helper()
	v.hog++
	path := filepath.Join(v.Path, "hog-"+strconv.Itoa(v.hog))
	f, err := os.Create(path)
	if err != nil {
		v.t.Fatal(err)
	}
	_, err = io.Copy(f, zeros{})
	if err == nil || f.Sync() != nil || f.Close() != nil {
		v.t.Fatalf("fill the volume: %v", err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			v.t.Error(err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func (v *Volume) run(name string, args ...string) {
	v.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		v.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}
