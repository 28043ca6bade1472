package machine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// File descriptors that init inherits.
const (
	fdGo       = 3 // read end: one byte means "go"; end of file before that means that the harness died
	fdReport   = 4 // write end: init reports that it is recorded and has its mounts
	fdListener = 5 // listening socket of the host's network namespace, if the machine has one
)

// Launched is a machine whose init waits for its network before it starts the services.
type Launched struct {
	Record Record
	start  *os.File
}

// Launch starts the machine's init by re-executing program with args. listener, which may be nil, is passed to the services that
// ask for it. Until Go is called, init starts nothing, and it exits if this process dies.
func Launch(program string, args []string, p Plan, listener *os.File) (*Launched, error) {
	if err := os.Remove(filepath.Join(p.Dir, recordFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("clear machine record: %w", err)
	}
	goRead, goWrite, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("create start pipe: %w", err)
	}
	defer goRead.Close()
	reportRead, reportWrite, err := os.Pipe()
	if err != nil {
		goWrite.Close()
		return nil, fmt.Errorf("create report pipe: %w", err)
	}
	defer reportRead.Close()
	cmd := exec.Command(program, args...)
	cmd.ExtraFiles = []*os.File{goRead, reportWrite}
	if listener != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, listener)
	}
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true,
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS |
			unix.CLONE_NEWIPC,
	}
	err = startLogged(cmd, filepath.Join(p.LogDir(), "init.log"))
	reportWrite.Close()
	if err != nil {
		goWrite.Close()
		return nil, fmt.Errorf("start init of machine %s: %w", p.Name, err)
	}
	go cmd.Wait() // reap it if it ends while this process still runs
	if err := awaitReport(reportRead, 20*time.Second); err != nil {
		goWrite.Close()
		return nil, fmt.Errorf("start machine %s: %w", p.Name, err)
	}
	record, found, err := LoadRecord(p.Dir)
	if err != nil || !found {
		goWrite.Close()
		return nil, errors.Join(fmt.Errorf("start machine %s: init left no record", p.Name), err)
	}
	return &Launched{Record: record, start: goWrite}, nil
}

func startLogged(cmd *exec.Cmd, path string) error {
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	return cmd.Start()
}

// awaitReport reads init's one line: "ready", or the reason why it is not.
func awaitReport(r *os.File, bound time.Duration) error {
	if err := r.SetReadDeadline(time.Now().Add(bound)); err != nil {
		return fmt.Errorf("bound the wait for init: %w", err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	switch line = strings.TrimSpace(line); {
	case line == "ready":
		return nil
	case line != "":
		return errors.New(line)
	case errors.Is(err, io.EOF):
		return errors.New("init ended without a report")
	default:
		return fmt.Errorf("wait for init: %w", err)
	}
}

// Go lets init start the machine's services.
func (l *Launched) Go() error {
	defer l.start.Close()
	if _, err := l.start.Write([]byte{1}); err != nil {
		return fmt.Errorf("let init go on: %w", err)
	}
	return nil
}

// Abort ends the machine. It must be called instead of Go.
func (l *Launched) Abort() { l.start.Close() }
