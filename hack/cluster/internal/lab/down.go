package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/machine"
	"github.com/replicatedstore/replicatedstore/hack/cluster/internal/storage"
)

// killBound limits how long the kernel may take to end everything on one machine.
const killBound = 30 * time.Second

// Down ends the cluster and removes all traces of it, whatever state it is in.
func (l *Lab) Down() error {
	if os.Geteuid() != 0 {
		return errors.New("stop the cluster: namespaces and cgroups need root")
	}
	unlock, err := l.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := l.remove(); err != nil {
		return err
	}
	left, err := l.leftovers()
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("stop the cluster: left behind:\n  %s", strings.Join(left, "\n  "))
	}
	if err := os.Remove(l.dir + ".lock"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove lock: %w", err)
	}
	return nil
}

// remove kills every recorded machine, then whatever else lives in the cluster's cgroups, and removes the state.
func (l *Lab) remove() error {
	names, err := l.machines()
	if err != nil {
		return err
	}
	var group errgroup.Group
	for _, name := range names {
		group.Go(func() error {
			r, found, err := machine.LoadRecord(l.machineDir(name))
			if err != nil || !found {
				return err
			}
			return r.Kill(killBound)
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("stop machines: %w", err)
	}
	cg, err := l.cgroup()
	if err != nil {
		return err
	}
	if err := cg.Clear(killBound); err != nil {
		return err
	}
	if err := storage.DetachAll(l.dir); err != nil {
		return err
	}
	return l.removeState()
}

// removeState deletes the state directory. The machines' mounts disappeared with them. Any mount that still shows here was made by
// somebody else, and its content must not be deleted.
func (l *Lab) removeState() error {
	mounts, err := l.mounts()
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		return fmt.Errorf("remove state directory: something is mounted in it: %s", strings.Join(mounts, ", "))
	}
	if err := os.RemoveAll(l.dir); err != nil {
		return fmt.Errorf("remove state directory: %w", err)
	}
	return nil
}

// machines lists every machine that has a directory.
func (l *Lab) machines() ([]string, error) {
	entries, err := os.ReadDir(l.path("machines"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list machines: %w", err)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// Verify returns one line for everything that is left of the cluster on this host. After Down, it returns none.
func (l *Lab) Verify() ([]string, error) { return l.leftovers() }

func (l *Lab) leftovers() ([]string, error) {
	var left []string
	if _, err := os.Stat(l.dir); err == nil {
		left = append(left, "state directory "+l.dir)
	}
	cg, err := l.cgroup()
	if err != nil {
		return nil, err
	}
	if cg.Exists() {
		left = append(left, "cgroup "+cg.Path())
	}
	mounts, err := l.mounts()
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		left = append(left, "mount "+m)
	}
	pids, err := l.processes()
	if err != nil {
		return nil, err
	}
	for _, p := range pids {
		left = append(left, "process "+p)
	}
	devices, err := storage.LoopDevices(l.dir)
	if err != nil {
		return nil, err
	}
	for d, file := range devices {
		left = append(left, "loop device "+d+" of "+file)
	}
	return left, nil
}

// mounts lists mount points at or below the state directory in the host's mount namespace.
func (l *Lab) mounts() ([]string, error) {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	var found []string
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		point := strings.ReplaceAll(fields[4], `\040`, " ")
		if point == l.dir || strings.HasPrefix(point, l.dir+"/") {
			found = append(found, point)
		}
	}
	return found, nil
}

// processes lists the processes that belong to the cluster, because of their cgroup or because they run the cluster's own program.
// Processes started by "exec" match neither, but are in a machine's PID namespace, which the kernel empties before init is gone.
// There is no search for network namespaces: they have no names here, so they and their interfaces end with their processes.
func (l *Lab) processes() ([]string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	mark := "/" + l.id() + "/"
	var found []string
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil {
			continue // ended meanwhile
		}
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)) // empty for a kernel thread
		if strings.Contains(string(groups), mark) || strings.TrimSuffix(exe, " (deleted)") == l.Program() {
			if machine.Ended(pid) {
				continue
			}
			found = append(found, fmt.Sprintf("%d (%s)", pid, filepath.Base(exe)))
		}
	}
	return found, nil
}

// Kill simulates the loss of a worker: every process on it ends immediately, without notice.
func (l *Lab) Kill(name string) error {
	return l.change(func(s Spec) error {
		if err := s.checkWorker(name); err != nil {
			return err
		}
		r, err := l.record(name)
		if err != nil {
			return err
		}
		return r.Kill(killBound)
	})
}

// Start restarts a killed worker. Its disk is unchanged; memory, /run and its network are new.
func (l *Lab) Start(name string) error {
	return l.change(func(s Spec) error {
		if err := s.checkWorker(name); err != nil {
			return err
		}
		if r, err := l.record(name); err == nil {
			return fmt.Errorf("start worker %s: it runs (process %d)", name, r.Pid)
		}
		port, err := s.port(name)
		if err != nil {
			return err
		}
		if err := l.clearPods(name); err != nil {
			return err
		}
		return l.boot(s, port, nil)
	})
}

// clearPods removes the empty cgroups that a killed worker's pods left behind, and recreates the worker's own.
func (l *Lab) clearPods(worker string) error {
	cg, err := l.cgroup()
	if err != nil {
		return err
	}
	group := cg.Child(worker)
	if err := group.Clear(killBound); err != nil {
		return err
	}
	if err := group.Create(); err != nil {
		return err
	}
	_, err = group.Child("system").CreateLeaf()
	return err
}

// changes serializes the commands of one process; the lock file does so across processes.
var changes sync.Mutex

// change runs fn exclusively on a running cluster.
func (l *Lab) change(fn func(Spec) error) error {
	changes.Lock()
	defer changes.Unlock()
	// Check before locking, too: only an existing cluster gets a lock file.
	if _, err := l.running(); err != nil {
		return err
	}
	unlock, err := l.lock()
	if err != nil {
		return err
	}
	defer unlock()
	s, err := l.running()
	if err != nil {
		return err
	}
	return fn(s)
}
