package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exec runs argv inside the machine that r names, with this process's standard streams, working directory and
// environment, and returns its exit status (128 + signal if a signal ended it). The command lives in the machine's
// process namespace, so it ends with the machine; program, this program's stable path, ties it to the caller too.
//
// The calling process is not usable for anything else afterwards: one of its threads stays in the machine.
func Exec(r Record, program string, argv []string) (status int, err error) {
	fd, err := r.open()
	if err != nil {
		return 0, fmt.Errorf("enter machine: it does not run: %w", err)
	}
	defer unix.Close(fd)
	dir, err := os.Getwd()
	if err != nil {
		return 0, fmt.Errorf("read working directory: %w", err)
	}
	runtime.LockOSThread() // namespaces belong to a thread; the thread is never given back
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return 0, fmt.Errorf("unshare file system attributes: %w", err)
	}
	const all = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	if err := unix.Setns(fd, all); err != nil {
		return 0, fmt.Errorf("enter machine's namespaces: %w", err)
	}
	cmd := exec.Command(program, append([]string{"inner", "tied"}, argv...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Dir = dir
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start command in machine: %w", err)
	}
	go func() {
		for s := range signals {
			// A command that has just ended needs no signal.
			_ = cmd.Process.Signal(s)
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
			return 128 + int(ws.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	return 0, err
}

// Tied replaces this process by argv, which is killed when the process that started it ends. SysProcAttr.Pdeathsig
// would do, but for its check that the parent still has the id it had: seen from another process namespace it has none.
func Tied(argv []string) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the setting belongs to the thread, and survives its exec
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("tie command to its caller: %w", err)
	}
	return fmt.Errorf("run %s: %w", path, syscall.Exec(path, argv, os.Environ()))
}
