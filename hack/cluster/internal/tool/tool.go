// Package tool builds the programs that the cluster runs from pinned modules, and keeps them in the user's cache directory, where
// other clones of the repository find them.
package tool

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Module is a tool module below hack/tools.
type Module struct {
	Name     string
	Flags    []string          // of go build, besides -o
	Packages []string          // what to build: "tool" means the module's tool directives
	Rename   map[string]string // from the names that go build gives programs to the names used here
	Programs []string          // the resulting programs
}

const kubeVersion = "1.37.2"

// The tool modules. Kube's flags are part of the build cache's key; -X sets the version that the API server reports.
var (
	Kube = Module{
		Name: "kube",
		Flags: []string{"-trimpath", "-ldflags=-s -w" +
			" -X k8s.io/component-base/version.gitVersion=v" + kubeVersion +
			" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"},
		Packages: []string{"tool"},
		Rename:   map[string]string{"server": "etcd"},
		Programs: []string{"kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet", "etcd"},
	}
	CoreDNS = Module{
		Name: "coredns", Flags: []string{"-trimpath", "-ldflags=-s -w"}, Packages: []string{"."}, Programs: []string{"coredns"},
	}
	Helm = Module{
		Name: "helm", Flags: []string{"-trimpath", "-ldflags=-s -w"}, Packages: []string{"tool"}, Programs: []string{"helm"},
	}
)

// Modules lists every tool module.
func Modules() []Module { return []Module{Kube, CoreDNS, Helm} }

// Cache builds modules of the repository at Root into Dir.
type Cache struct {
	Root string
	Dir  string
	Log  io.Writer // progress, for people
}

// Open returns the cache in the user's cache directory for the repository at root.
func Open(root string, log io.Writer) (*Cache, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find cache directory: %w", err)
	}
	return &Cache{Root: root, Dir: filepath.Join(base, "replicatedstore", "tools"), Log: log}, nil
}

// Path returns the path of the program with this name. It builds the program's module first if necessary.
func (c *Cache) Path(ctx context.Context, name string) (string, error) {
	for _, m := range Modules() {
		if slices.Contains(m.Programs, name) {
			dir, err := c.Ensure(ctx, m)
			return filepath.Join(dir, name), err
		}
	}
	return "", fmt.Errorf("find program %q: no tool module has it", name)
}

// Programs returns the path of every program of the modules, by name. It builds what is missing.
func (c *Cache) Programs(ctx context.Context, modules ...Module) (map[string]string, error) {
	paths := map[string]string{}
	for _, m := range modules {
		dir, err := c.Ensure(ctx, m)
		if err != nil {
			return nil, err
		}
		for _, p := range m.Programs {
			paths[p] = filepath.Join(dir, p)
		}
	}
	return paths, nil
}

// Ensure returns the directory with the module's programs. If several callers need to build them at the same time, one does.
func (c *Cache) Ensure(ctx context.Context, m Module) (string, error) {
	source := filepath.Join(c.Root, "hack", "tools", m.Name)
	return c.once(ctx, m.Name, source, m.Flags, func(ctx context.Context, out string) error {
		args := slices.Concat([]string{"build", "-v"}, m.Flags, []string{"-o", out + "/"}, m.Packages)
		if err := c.goBuild(ctx, m.Name, source, args, m.Packages); err != nil {
			return err
		}
		for from, to := range m.Rename {
			if err := os.Rename(filepath.Join(out, from), filepath.Join(out, to)); err != nil {
				return fmt.Errorf("rename program: %w", err)
			}
		}
		for _, p := range m.Programs {
			if _, err := os.Stat(filepath.Join(out, p)); err != nil {
				return fmt.Errorf("check what was built: %w", err)
			}
		}
		return nil
	})
}

// once runs build on an empty directory and publishes the result under a name made of label and a hash of source's files, flags
// and the Go version. If that name already exists, it does nothing.
func (c *Cache) once(ctx context.Context, label, source string, flags []string, build func(context.Context, string) error) (string, error) {
	key, err := key(source, flags)
	if err != nil {
		return "", fmt.Errorf("identify %s: %w", label, err)
	}
	dir := filepath.Join(c.Dir, label+"-"+key)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return "", fmt.Errorf("create tool cache: %w", err)
	}
	unlock, err := lock(filepath.Join(c.Dir, "."+label+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	tmp, err := os.MkdirTemp(c.Dir, ".build-"+label+"-")
	if err != nil {
		return "", fmt.Errorf("create build directory: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", fmt.Errorf("open build directory: %w", err)
	}
	if err := build(ctx, tmp); err != nil {
		return "", fmt.Errorf("build %s: %w", label, err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return "", fmt.Errorf("publish %s: %w", label, err)
	}
	return dir, nil
}

// key hashes the files directly in source (module files and sources), the flags, and the compiler.
func key(source string, flags []string) (string, error) {
	entries, err := os.ReadDir(source)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %s/%s %q\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, flags)
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(source, e.Name()))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n", e.Name(), len(content))
		h.Write(content)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// goBuild runs the go command in dir and shows its progress.
func (c *Cache) goBuild(ctx context.Context, label, dir string, args, packages []string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("read compiler output: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start compiler: %w", err)
	}
	p := newProgress(c.Log, label)
	counting, stop := context.WithCancel(ctx)
	var counter sync.WaitGroup
	counter.Go(func() { p.total(countPackages(counting, dir, args, packages)) })
	tail := p.follow(stderr)
	err = cmd.Wait()
	stop()
	counter.Wait()
	p.finish(err)
	if err != nil {
		return errors.Join(err, errors.New(strings.Join(tail, "\n")))
	}
	return nil
}
