package machine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Init is process 1 of a machine. It returns only on an error before the services start. After that it runs until it is killed.
func Init(dir string) error {
	report := os.NewFile(fdReport, "report")
	plan, err := setUp(dir)
	if err != nil {
		fmt.Fprintln(report, strings.ReplaceAll(err.Error(), "\n", "; "))
		return err
	}
	fmt.Fprintln(report, "ready")
	report.Close()
	start := os.NewFile(fdGo, "go")
	if n, _ := start.Read(make([]byte, 1)); n == 0 {
		return errors.New("wait for the network: the harness is gone")
	}
	start.Close()
	return newSupervisor(plan).run()
}

// setUp records init first, so that it can be found and killed from then on, whatever happens to the harness.
func setUp(dir string) (Plan, error) {
	record, err := self()
	if err != nil {
		return Plan{}, err
	}
	if err := writeJSON(filepath.Join(dir, recordFile), record); err != nil {
		return Plan{}, err
	}
	plan, err := LoadPlan(dir)
	if err != nil {
		return Plan{}, err
	}
	for _, fd := range []int{fdGo, fdReport, fdListener} {
		unix.CloseOnExec(fd)
	}
	if err := os.WriteFile(plan.CgroupJoin, []byte("0"), 0o644); err != nil {
		return Plan{}, fmt.Errorf("join cgroup: %w", err)
	}
	if err := unix.Sethostname([]byte(plan.Name)); err != nil {
		return Plan{}, fmt.Errorf("set host name: %w", err)
	}
	if err := setUpMounts(plan); err != nil {
		return Plan{}, err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return Plan{}, fmt.Errorf("find loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return Plan{}, fmt.Errorf("turn on loopback: %w", err)
	}
	for key, value := range plan.Sysctls {
		path := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
		// The key of a kernel module that is not loaded does not exist, and does not matter.
		if err := os.WriteFile(path, []byte(value), 0o644); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Plan{}, fmt.Errorf("set sysctl: %w", err)
		}
	}
	return plan, nil
}

// setUpMounts gives the machine its own /proc, /run, /var/lib, /var/log and /etc/resolv.conf. Everything else is the host's. /sys
// stays untouched: a new mount of it would lack the cgroup hierarchies that kubelet looks for.
func setUpMounts(plan Plan) error {
	steps := []struct {
		what, source, target, kind string
		flags                      uintptr
		data                       string
	}{
		{what: "cut mounts off from the host", target: "/", flags: unix.MS_REC | unix.MS_PRIVATE},
		// kubelet mounts volumes, which must reach the containers. This requires mount propagation inside the machine.
		{what: "share mounts in the machine", target: "/", flags: unix.MS_REC | unix.MS_SHARED},
		{what: "mount /proc", source: "proc", target: "/proc", kind: "proc", flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{what: "bind the logs", source: filepath.Join(plan.Dir, "var-log"), target: "/var/log", flags: unix.MS_BIND},
		{what: "mount /run", source: "tmpfs", target: "/run", kind: "tmpfs", flags: unix.MS_NOSUID | unix.MS_NODEV, data: "mode=755"},
	}
	if err := os.MkdirAll(filepath.Join(plan.Dir, "var-log"), 0o755); err != nil {
		return fmt.Errorf("create log directory: %w", err)
	}
	for _, s := range steps {
		if err := unix.Mount(s.source, s.target, s.kind, s.flags, s.data); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	if err := overlayVarLib(); err != nil {
		return err
	}
	for _, b := range plan.Binds {
		for _, dir := range []string{b.Source, b.Target} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("create directory to bind: %w", err)
			}
		}
		if err := unix.Mount(b.Source, b.Target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", b.Target, err)
		}
	}
	return bindResolvConf(plan)
}

// overlayVarLib makes it possible to create mount points below /var/lib without creating them on the host.
func overlayVarLib() error {
	const upper, work = "/run/.var-lib/upper", "/run/.var-lib/work"
	for _, dir := range []string{upper, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("create overlay directory: %w", err)
		}
	}
	data := "lowerdir=/var/lib,upperdir=" + upper + ",workdir=" + work
	if err := unix.Mount("overlay", "/var/lib", "overlay", 0, data); err != nil {
		return fmt.Errorf("overlay /var/lib: %w", err)
	}
	return nil
}

// bindResolvConf covers /etc/resolv.conf. If that is a link (systemd-resolved), its target lies in the new, empty /run, and is
// created there.
func bindResolvConf(plan Plan) error {
	source := filepath.Join(plan.Dir, "resolv.conf")
	if err := os.WriteFile(source, []byte(plan.ResolvConf), 0o644); err != nil {
		return fmt.Errorf("write resolver configuration: %w", err)
	}
	target := "/etc/resolv.conf"
	if link, err := os.Readlink(target); err == nil {
		if target = link; !filepath.IsAbs(link) {
			target = filepath.Join("/etc", link)
		}
	}
	if current, err := os.ReadFile(target); err == nil && bytes.Equal(current, []byte(plan.ResolvConf)) {
		return nil
	} else if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(target, "/run/") {
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return fmt.Errorf("create resolver directory: %w", err)
		}
		return os.WriteFile(target, []byte(plan.ResolvConf), 0o644)
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind resolver configuration: %w", err)
	}
	return nil
}
