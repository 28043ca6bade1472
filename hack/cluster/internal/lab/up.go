package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/fabric"
	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/machine"
	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/tool"
	"github.com/replicatedstore/replicatedstore/hack/image/archive"
)

// UpOptions are the options of Up.
type UpOptions struct {
	Nodes int           // number of workers, 1 to MaxNodes
	Port  int           // preferred port of the API server on 127.0.0.1; if it is in use, another one is taken
	Wait  time.Duration // how long the control plane and the workers may each take to become ready
}

// Up starts the cluster, or reports that it already runs. It first removes what an interrupted start left behind.
func (l *Lab) Up(ctx context.Context, cache *tool.Cache, o UpOptions) error {
	if os.Geteuid() != 0 {
		return errors.New("start the cluster: namespaces and cgroups need root")
	}
	if o.Nodes < 1 || o.Nodes > MaxNodes {
		return fmt.Errorf("start the cluster: %d workers asked for, want 1 to %d", o.Nodes, MaxNodes)
	}
	if err := checkPlace(l.dir); err != nil {
		return err
	}
	if err := cache.InstallPackages(ctx); err != nil {
		return err
	}
	programs, err := cache.Programs(ctx, tool.Kube, tool.CoreDNS)
	if err != nil {
		return err
	}
	pause, err := cache.Static(ctx, "hack/image/pause")
	if err != nil {
		return err
	}
	unlock, err := l.lock()
	if err != nil {
		return err
	}
	defer unlock()
	spec, found, err := l.loadSpec()
	if err != nil {
		return err
	}
	if found && spec.Complete && l.coreRuns() {
		l.say("the cluster in %s is up already (%d workers)", l.dir, spec.Nodes)
		return nil
	}
	if left, err := l.leftovers(); err != nil {
		return err
	} else if len(left) > 0 {
		l.say("removing what an interrupted start, or a restart of this machine, left")
		if err := l.remove(); err != nil {
			return err
		}
	}
	return l.start(ctx, o, programs, pause)
}

func (l *Lab) start(ctx context.Context, o UpOptions, programs map[string]string, pause string) error {
	started := time.Now()
	step := func(format string, args ...any) {
		l.say("[%5.1fs] %s", time.Since(started).Seconds(), fmt.Sprintf(format, args...))
	}
	listener, err := listen(o.Port)
	if err != nil {
		return err
	}
	defer listener.Close()
	spec := Spec{Nodes: o.Nodes, Port: listener.Addr().(*net.TCPAddr).Port}
	if err := l.prepare(spec, programs, pause, started); err != nil {
		return err
	}
	step("starting %d machines", len(spec.ports())+1)
	if err := l.bootAll(spec, listener); err != nil {
		return err
	}
	api, err := l.connect()
	if err != nil {
		return err
	}
	if err := api.waitReady(ctx, o.Wait); err != nil {
		return l.explain(err, apiName)
	}
	step("API server is ready")
	if err := os.WriteFile(l.apiReadyFile(), nil, 0o644); err != nil {
		return fmt.Errorf("release the other components: %w", err)
	}
	if err := l.applyAddons(ctx, programs["kubectl"]); err != nil {
		return err
	}
	step("DNS, storage class and access rules are in place")
	if err := api.waitNodes(ctx, spec.workers(), o.Wait); err != nil {
		return l.explain(err, spec.workers()...)
	}
	if err := api.waitServiceAccount(ctx, o.Wait); err != nil {
		return l.explain(err, apiName)
	}
	spec.Complete = true
	if err := l.saveSpec(spec); err != nil {
		return err
	}
	step("%d workers are ready", spec.Nodes)
	return nil
}

// checkPlace rejects directories that the machines hide under their own mounts.
func checkPlace(dir string) error {
	for _, covered := range []string{"/proc", "/run", "/var/lib", "/var/log", "/var/run"} {
		if strings.HasPrefix(dir+"/", covered+"/") {
			return fmt.Errorf("keep the cluster in %s: machines have a %s of their own; choose another --state", dir, covered)
		}
	}
	return nil
}

// coreRuns reports whether all machines run that no command can turn off.
func (l *Lab) coreRuns() bool {
	for _, name := range []string{switchName, apiName, dnsName, clientName} {
		if _, err := l.record(name); err != nil {
			return false
		}
	}
	return true
}

// explain adds to err where to look for the cause.
func (l *Lab) explain(err error, machines ...string) error {
	for _, m := range machines {
		err = fmt.Errorf("%w\n  logs: %s", err, filepath.Join(l.machineDir(m), "log"))
	}
	return err
}

// prepare writes everything that the machines read, and starts nothing.
func (l *Lab) prepare(spec Spec, programs map[string]string, pause string, now time.Time) error {
	for _, dir := range []string{l.imagesDir(), l.path("bin")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("create state directory: %w", err)
		}
	}
	if err := l.saveSpec(spec); err != nil {
		return err
	}
	if err := copySelf(l.Program()); err != nil {
		return err
	}
	_, err := archive.Write(filepath.Join(l.imagesDir(), "pause.tar"), archive.Image{
		Reference: pauseImage, User: "65535:65535", Entrypoint: []string{"/pause"}, Arch: runtime.GOARCH,
		Files: []archive.File{{Path: "/pause", Source: pause}},
	})
	if err != nil {
		return err
	}
	issued, err := l.issueKeys(spec, now)
	if err != nil {
		return err
	}
	p := planner{Lab: l, spec: spec, keys: issued, programs: programs}
	return p.writeAll()
}

// copySelf saves a copy of this program for the machines: the binary of a "go run" is deleted when it ends.
func copySelf(path string) error {
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("open own program: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return fmt.Errorf("copy own program: %w", err)
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return fmt.Errorf("copy own program: %w", err)
	}
	return out.Close()
}

// listen opens the preferred port on the host's loopback interface, or any free one.
func listen(port int) (*net.TCPListener, error) {
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		if l, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("listen on loopback: %w", err)
		}
	}
	return l.(*net.TCPListener), nil
}

// bootAll starts the switch, then every other machine.
func (l *Lab) bootAll(spec Spec, listener *net.TCPListener) error {
	file, err := listener.File()
	if err != nil {
		return fmt.Errorf("hand on the listener: %w", err)
	}
	defer file.Close()
	sw, err := l.launch(switchName, nil)
	if err != nil {
		return err
	}
	if err := fabric.SetUpSwitch(sw.Record.Pid); err != nil {
		sw.Abort()
		return err
	}
	if err := sw.Go(); err != nil {
		return err
	}
	var group errgroup.Group
	for _, port := range spec.ports() {
		group.Go(func() error {
			if port.Name == apiName {
				return l.boot(spec, port, file)
			}
			return l.boot(spec, port, nil)
		})
	}
	return group.Wait()
}

// boot starts one machine, plugs it in, and lets its services start.
func (l *Lab) boot(spec Spec, port fabric.Port, listener *os.File) error {
	sw, err := l.record(switchName)
	if err != nil {
		return err
	}
	m, err := l.launch(port.Name, listener)
	if err != nil {
		return err
	}
	if err := fabric.Connect(sw.Pid, m.Record.Pid, port, spec.ports()); err != nil {
		m.Abort()
		return err
	}
	return m.Go()
}

func (l *Lab) launch(name string, listener *os.File) (*machine.Launched, error) {
	plan, err := machine.LoadPlan(l.machineDir(name))
	if err != nil {
		return nil, err
	}
	return machine.Launch(l.Program(), []string{"inner", "init", plan.Dir}, plan, listener)
}
