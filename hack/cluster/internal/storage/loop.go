package storage

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// A volume of a storage class with parameterMedium: mediumLoop is a loop device over a file of the requested size. kubelet makes
// and mounts a file system on it as on a real disk: parameterFileSystem, or ext4 by default. Such a volume can fill up, freeze and
// fail independently of others.
const (
	parameterMedium     = "medium"
	parameterFileSystem = "fileSystem"
	mediumLoop          = "loop"
	imageSuffix         = ".img"
)

// makeLoop creates the file and its device, and returns the device as kubelet expects it.
func makeLoop(ctx context.Context, file string, size int64, fileSystem string) (*corev1.LocalVolumeSource, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create volume file: %w", err)
	}
	err = f.Truncate(size)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("size volume file: %w", err)
	}
	devices, err := loopDevices(ctx, file)
	if err != nil {
		return nil, err
	}
	if len(devices) == 0 {
		out, err := exec.CommandContext(ctx, "losetup", "--find", "--show", file).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("attach loop device: %w: %s", err, out)
		}
		devices = strings.Fields(string(out))
	}
	return &corev1.LocalVolumeSource{Path: devices[0], FSType: new(cmp.Or(fileSystem, "ext4"))}, nil
}

// growLoop enlarges the file and its device, which may be in use. It never shrinks them.
func growLoop(ctx context.Context, file string, size int64) error {
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("find volume file: %w", err)
	}
	if info.Size() >= size {
		return nil
	}
	if err := os.Truncate(file, size); err != nil {
		return fmt.Errorf("grow volume file: %w", err)
	}
	devices, err := loopDevices(ctx, file)
	if err != nil {
		return err
	}
	for _, d := range devices {
		if out, err := exec.CommandContext(ctx, "losetup", "--set-capacity", d).CombinedOutput(); err != nil {
			return fmt.Errorf("grow loop device %s: %w: %s", d, err, out)
		}
	}
	return nil
}

// removeLoop detaches the file's devices (immediately, or when the last mount is gone) and removes the file.
func removeLoop(ctx context.Context, file string) error {
	devices, err := loopDevices(ctx, file)
	if err != nil {
		return err
	}
	for _, d := range devices {
		if out, err := exec.CommandContext(ctx, "losetup", "--detach", d).CombinedOutput(); err != nil {
			return fmt.Errorf("detach loop device %s: %w: %s", d, err, out)
		}
	}
	if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove volume file: %w", err)
	}
	return nil
}

// loopDevices returns the devices of a file.
func loopDevices(_ context.Context, file string) ([]string, error) {
	devices, err := LoopDevices(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	var out []string
	for d, backing := range devices {
		if backing == file {
			out = append(out, d)
		}
	}
	return out, nil
}

// LoopDevices returns the loop devices of this host whose files lie below dir, with their files.
func LoopDevices(dir string) (map[string]string, error) {
	found, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, fmt.Errorf("list loop devices: %w", err)
	}
	out := map[string]string{}
	for _, path := range found {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // detached meanwhile
		}
		file := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), " (deleted)")
		if strings.HasPrefix(file, dir+"/") {
			out["/dev/"+strings.Split(path, "/")[3]] = file
		}
	}
	return out, nil
}

// DetachAll detaches every loop device whose file lies below dir.
func DetachAll(dir string) error {
	devices, err := LoopDevices(dir)
	if err != nil {
		return err
	}
	for d := range devices {
		if out, err := exec.Command("losetup", "--detach", d).CombinedOutput(); err != nil {
			return fmt.Errorf("detach loop device %s: %w: %s", d, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
