package machine

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// restartDelay is how long a service stays down after it ended, like systemd's usual RestartSec for node services.
const restartDelay = time.Second

type phase string

const (
	waiting phase = "waiting"
	running phase = "running"
	done    phase = "done"
	delayed phase = "restarting"
)

type service struct {
	Service
	phase    phase
	pid      int
	restarts int
	retryAt  time.Time
}

// supervisor starts services and restarts them when they end. A single goroutine owns all of its fields. It reaps children itself
// instead of through os/exec because, as process 1, it is also the parent of every orphan in the machine.
type supervisor struct {
	plan     Plan
	services []*service
	dirty    bool // services.json is out of date

	start  func(Service) (pid int, err error)
	exists func(path string) bool
}

func newSupervisor(plan Plan) *supervisor {
	s := &supervisor{plan: plan, dirty: true}
	s.start = s.fork
	s.exists = func(path string) bool { _, err := os.Stat(path); return err == nil }
	for _, spec := range plan.Services {
		s.services = append(s.services, &service{Service: spec, phase: waiting})
	}
	return s
}

func (s *supervisor) run() error {
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGPIPE)
	for {
		s.reapAll(time.Now())
		pending := s.advance(time.Now())
		if s.dirty {
			if err := s.publish(); err != nil {
				fmt.Fprintln(os.Stderr, "publish service states:", err)
			}
		}
		var tick <-chan time.Time
		if pending {
			tick = time.After(50 * time.Millisecond)
		}
		select {
		case <-children:
		case <-tick:
		}
	}
}

// advance starts what can be started now. It reports whether anything still waits for a file or a time.
func (s *supervisor) advance(now time.Time) (pending bool) {
	for _, svc := range s.services {
		if svc.phase == delayed && !now.Before(svc.retryAt) {
			svc.phase, s.dirty = waiting, true
		}
		if svc.phase == waiting && s.filesExist(svc.WaitFor) {
			s.launch(svc, now)
		}
		pending = pending || svc.phase == waiting || svc.phase == delayed
		if svc.Once && svc.phase != done {
			return pending
		}
	}
	return pending
}

func (s *supervisor) filesExist(paths []string) bool {
	for _, path := range paths {
		if !s.exists(path) {
			return false
		}
	}
	return true
}

func (s *supervisor) launch(svc *service, now time.Time) {
	s.dirty = true
	pid, err := s.start(svc.Service)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s start %s: %v\n", now.Format(time.RFC3339), svc.Name, err)
		svc.phase, svc.retryAt = delayed, now.Add(restartDelay)
		return
	}
	svc.phase, svc.pid = running, pid
}

// exited records the end of a child. An orphan that is not a service changes nothing.
func (s *supervisor) exited(pid int, success bool, detail string, now time.Time) {
	for _, svc := range s.services {
		if svc.pid != pid {
			continue
		}
		s.dirty, svc.pid = true, 0
		if svc.Once && success {
			svc.phase = done
			return
		}
		fmt.Fprintf(os.Stderr, "%s %s ended: %s\n", now.Format(time.RFC3339), svc.Name, detail)
		svc.phase, svc.retryAt = delayed, now.Add(restartDelay)
		svc.restarts++
		return
	}
}

func (s *supervisor) reapAll(now time.Time) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		detail := fmt.Sprintf("exit status %d", status.ExitStatus())
		if status.Signaled() {
			detail = "signal " + status.Signal().String()
		}
		s.exited(pid, status.Exited() && status.ExitStatus() == 0, detail, now)
	}
}

func (s *supervisor) fork(svc Service) (int, error) {
	path := filepath.Join(s.plan.LogDir(), svc.Name+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, fmt.Errorf("open standard input: %w", err)
	}
	defer null.Close()
	files := []uintptr{null.Fd(), log.Fd(), log.Fd()}
	if svc.Inherit {
		files = append(files, fdListener)
	}
	return syscall.ForkExec(svc.Argv[0], svc.Argv, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: files, Sys: &syscall.SysProcAttr{Setsid: true},
	})
}

func (s *supervisor) publish() error {
	states := make([]ServiceState, 0, len(s.services))
	for _, svc := range s.services {
		states = append(states, ServiceState{Name: svc.Name, Phase: string(svc.phase), Pid: svc.pid, Restarts: svc.restarts})
	}
	if err := writeJSON(filepath.Join(s.plan.Dir, servicesFile), states); err != nil {
		return err
	}
	s.dirty = false
	return nil
}
