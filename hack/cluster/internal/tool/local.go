package tool

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Static builds a main package of this repository as a static program, without cgo, and returns its path in the cache. The package
// must not import anything from the repository, because the cache key covers only its own files.
func (c *Cache) Static(ctx context.Context, pkg string) (string, error) {
	name := filepath.Base(pkg)
	flags := []string{"-trimpath", "-ldflags=-s -w"}
	dir, err := c.once(ctx, name, filepath.Join(c.Root, pkg), flags, func(ctx context.Context, out string) error {
		args := slices.Concat([]string{"build"}, flags, []string{"-o", filepath.Join(out, name), "./" + pkg})
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = c.Root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(output)))
		}
		return nil
	})
	return filepath.Join(dir, name), err
}

// debian maps what must be installed on the host to the Debian package that provides it.
var debian = []struct{ pkg, program, file string }{
	{pkg: "containerd", program: "containerd"},
	{pkg: "runc", program: "runc"},
	{pkg: "containernetworking-plugins", file: "ptp"},
	{pkg: "nftables", program: "nft"},
	{pkg: "conntrack", program: "conntrack"},
	{pkg: "iproute2", program: "ip"},
	{pkg: "redis-tools", program: "redis-cli"},
	{pkg: "xfsprogs", program: "mkfs.xfs"},
}

// cniDirs lists the directories where distributions install the network plugins.
var cniDirs = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

// CNIDir returns the directory that has the network plugins, or "".
func CNIDir() string {
	for _, dir := range cniDirs {
		if _, err := os.Stat(filepath.Join(dir, "ptp")); err == nil {
			return dir
		}
	}
	return ""
}

// MissingPackages returns the Debian packages whose programs this host lacks.
func MissingPackages() []string {
	var missing []string
	for _, d := range debian {
		if d.file != "" {
			if CNIDir() == "" {
				missing = append(missing, d.pkg)
			}
		} else if _, err := exec.LookPath(d.program); err != nil {
			missing = append(missing, d.pkg)
		}
	}
	return missing
}

// InstallPackages installs what is missing with apt-get, showing its output.
func (c *Cache) InstallPackages(ctx context.Context) error {
	missing := MissingPackages()
	if len(missing) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("install %s: this machine has no apt-get; please install them by hand", strings.Join(missing, ", "))
	}
	fmt.Fprintf(c.Log, "  installing %s\n", strings.Join(missing, " "))
	for _, args := range [][]string{
		{"update", "-q"},
		append([]string{"install", "-q", "-y", "--no-install-recommends"}, missing...),
	} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Stdout, cmd.Stderr = c.Log, c.Log
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("run apt-get %s: %w", args[0], err)
		}
	}
	if missing := MissingPackages(); len(missing) > 0 {
		return fmt.Errorf("install packages: %s still missing", strings.Join(missing, ", "))
	}
	return nil
}
