package evidence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Logs copies the logs of the pods of some namespaces from the machines' disks while they are being written. It needs neither the
// API server nor the kubelet, and misses only what is written within one period before a pod is removed.
type Logs struct {
	machines   string // directory with one directory for each machine
	namespaces []string
	to         string
	files      map[string]*copied
	cancel     context.CancelFunc
	done       sync.WaitGroup
	err        error
}

// copied is one log file of one run of a container, or its continuation after a rotation.
type copied struct {
	from *os.File
	to   string
}

const logPeriod = time.Second

// CopyLogs starts copying from the machines of the cluster with the given state directory into the directory to.
func CopyLogs(state, to string, namespaces ...string) (*Logs, error) {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return nil, fmt.Errorf("keep logs: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Logs{machines: filepath.Join(state, "machines"), namespaces: namespaces, to: to, files: map[string]*copied{}, cancel: cancel}
	l.done.Go(func() {
		for ctx.Err() == nil {
			l.look()
			select {
			case <-ctx.Done():
			case <-time.After(logPeriod):
			}
		}
	})
	return l, nil
}

// Stop copies what is left and ends.
func (l *Logs) Stop() error {
	l.cancel()
	l.done.Wait()
	l.look()
	for _, c := range l.files {
		c.from.Close()
	}
	return l.err
}

// look opens new files, copies what is new in all files, and closes those that are gone.
func (l *Logs) look() {
	found := map[string]bool{}
	for _, ns := range l.namespaces {
		// <machine>/var-log/pods/<namespace>_<pod>_<uid>/<container>/<run>.log
		paths, err := filepath.Glob(filepath.Join(l.machines, "*", "var-log", "pods", ns+"_*", "*", "*.log"))
		l.note(err)
		for _, path := range paths {
			found[path] = true
			l.note(l.open(path))
		}
	}
	for path, c := range l.files {
		l.note(c.copy())
		if !found[path] {
			c.from.Close()
			delete(l.files, path)
		}
	}
}

func (l *Logs) note(err error) {
	if err != nil && l.err == nil {
		l.err = fmt.Errorf("keep logs: %w", err)
	}
}

// open opens a file unless it is open already. If another file has taken its name, it first copies the old one to its end.
func (l *Logs) open(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // removed since it was listed
	}
	if err != nil {
		return err
	}
	if c := l.files[path]; c != nil {
		was, errWas := c.from.Stat()
		is, errIs := f.Stat()
		if errWas == nil && errIs == nil && os.SameFile(was, is) {
			return f.Close()
		}
		err := c.copy()
		c.from.Close()
		l.files[path] = &copied{f, c.to}
		return err
	}
	l.files[path] = &copied{f, filepath.Join(l.to, l.name(path))}
	return nil
}

// name returns the name of the copy: machine, namespace, pod, the beginning of the pod's UID, container, run.
func (l *Logs) name(path string) string {
	rel, _ := filepath.Rel(l.machines, path) // path was found below it
	parts := strings.Split(rel, string(filepath.Separator))
	pod := strings.Split(parts[3], "_")
	pod[len(pod)-1] = pod[len(pod)-1][:min(8, len(pod[len(pod)-1]))]
	return strings.Join(append([]string{parts[0], strings.Join(pod, "_")}, parts[4:]...), "_")
}

// copy appends what is new.
func (c *copied) copy() error {
	to, err := os.OpenFile(c.to, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, c.from)
	return errors.Join(err, to.Close())
}
