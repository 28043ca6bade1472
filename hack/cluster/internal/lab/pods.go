package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/machine"
)

// PodRef names a pod, or one container of it.
type PodRef struct {
	Namespace, Name string
	Container       string // empty: all
}

// container is a running container on one of the workers.
type container struct {
	name string
	pids []int // the host's PIDs
	main int   // process 1 of the container; 0 if it has none of its own
}

// SignalPod sends signal to every process of the pod's containers; SIGSTOP pauses and SIGCONT resumes them. Since a process may
// start another before it stops, SignalPod repeats this until it finds no new process.
func (l *Lab) SignalPod(ref PodRef, signal unix.Signal) error {
	reached := map[int]bool{}
	for {
		fresh := 0
		err := l.eachContainer(ref, func(c container) error {
			for _, pid := range c.pids {
				if reached[pid] {
					continue
				}
				if err := unix.Kill(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
					return fmt.Errorf("signal process %d of container %s: %w", pid, c.name, err)
				}
				reached[pid] = true
				fresh++
			}
			return nil
		})
		if err != nil || fresh == 0 {
			return err
		}
	}
}

// KillProcess sends signal to the main process of each of the pod's containers.
func (l *Lab) KillProcess(ref PodRef, signal unix.Signal) error {
	return l.eachContainer(ref, func(c container) error {
		if c.main == 0 {
			return fmt.Errorf("kill main process of container %s: it shares its process namespace", c.name)
		}
		if err := unix.Kill(c.main, signal); err != nil {
			return fmt.Errorf("kill main process of container %s: %w", c.name, err)
		}
		return nil
	})
}

func (l *Lab) eachContainer(ref PodRef, fn func(container) error) error {
	s, err := l.running()
	if err != nil {
		return err
	}
	containers, err := l.containers(s, ref)
	if err != nil {
		return err
	}
	for _, c := range containers {
		if err := fn(c); err != nil {
			return err
		}
	}
	return nil
}

// containers finds the running containers of a pod from what kubelet wrote to the workers' disks. It does not need the API server,
// so it works while that is down or cut off.
func (l *Lab) containers(s Spec, ref PodRef) ([]container, error) {
	cg, err := l.cgroup()
	if err != nil {
		return nil, err
	}
	var found []container
	for _, worker := range s.workers() {
		if _, err := l.record(worker); err != nil {
			continue // nothing runs on a machine that is off
		}
		ids, err := containerIDs(filepath.Join(l.machineDir(worker), "var-log", "containers"), ref)
		if err != nil {
			return nil, err
		}
		for name, candidates := range ids {
			for _, id := range candidates {
				c, err := inspect(name, cg.Child(worker).Dir(), id)
				if err != nil {
					return nil, err
				}
				if len(c.pids) > 0 {
					found = append(found, c)
				}
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("find pod %s/%s: no container of it runs on any worker", ref.Namespace, ref.Name)
	}
	return found, nil
}

// containerIDs parses kubelet's links <pod>_<namespace>_<container>-<id>.log. Links of earlier runs may exist.
func containerIDs(dir string, ref PodRef) (map[string][]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	ids := map[string][]string{}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), ".log"), ref.Name+"_"+ref.Namespace+"_")
		dash := strings.LastIndexByte(rest, '-')
		if !ok || dash < 0 {
			continue
		}
		name, id := rest[:dash], rest[dash+1:]
		if ref.Container == "" || ref.Container == name {
			ids[name] = append(ids[name], id)
		}
	}
	return ids, nil
}

// inspect reads the processes of container id from its cgroup, which lies inside its pod's, below kubepods.
func inspect(name, root, id string) (container, error) {
	c := container{name: name}
	for _, class := range []string{"", "burstable", "besteffort"} {
		dirs, err := filepath.Glob(filepath.Join(root, "kubepods", class, "pod*", id))
		if err != nil {
			return c, fmt.Errorf("find cgroup of container %s: %w", name, err)
		}
		for _, dir := range dirs {
			content, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			if err != nil {
				continue // ended meanwhile
			}
			for field := range strings.FieldsSeq(string(content)) {
				var pid int
				if _, err := fmt.Sscan(field, &pid); err != nil || pid <= 0 {
					return c, fmt.Errorf("parse process of container %s: %q", name, field)
				}
				c.pids = append(c.pids, pid)
				if inner, err := machine.InnermostPid(pid); err == nil && inner == 1 {
					c.main = pid
				}
			}
		}
	}
	slices.Sort(c.pids)
	return c, nil
}

// Load imports an image archive on every worker, and keeps it for workers that start later.
func (l *Lab) Load(archives ...string) error {
	return l.change(func(s Spec) error {
		for _, path := range archives {
			started := time.Now()
			content, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("read image archive: %w", err)
			}
			kept := filepath.Join(l.imagesDir(), strings.TrimSuffix(filepath.Base(path), ".tar")+".tar")
			if err := replaceFile(kept, content); err != nil {
				return err
			}
			if err := l.importOn(s.workers(), kept); err != nil {
				return err
			}
			l.say("loaded %s in %.1fs", path, time.Since(started).Seconds())
		}
		return nil
	})
}

// importOn imports one archive on each running worker in names. A worker that is off imports it when it starts.
func (l *Lab) importOn(names []string, path string) error {
	var group errgroup.Group
	for _, worker := range names {
		if _, err := l.record(worker); err != nil {
			continue
		}
		group.Go(func() error {
			out, err := l.command(worker, l.Program(), "inner", "import", path).CombinedOutput()
			if err != nil {
				return fmt.Errorf("import image on %s: %w: %s", worker, err, strings.TrimSpace(string(out)))
			}
			return nil
		})
	}
	return group.Wait()
}
