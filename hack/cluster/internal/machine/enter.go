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

// Exec runs argv inside the machine that r identifies, with this process's standard streams, working directory and environment. It
// returns the exit status (128 + signal if a signal ended the command). The command lives in the machine's PID namespace, so it
// ends with the machine. Through program, a stable path of this program, it is also tied to the caller.
//
// Afterwards the calling process is unusable for anything else: one of its threads stays in the machine.
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
	runtime.LockOSThread() // namespaces belong to a thread, which is never unlocked
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
			// The command may just have ended, and then needs no signal.
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

// Tied replaces this process with argv, which is killed when the process that started it ends. SysProcAttr.Pdeathsig would do this
// too, except that it checks that the parent still has the same PID: from another PID namespace the parent has none.
func Tied(argv []string) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the setting belongs to the thread and survives its exec
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("tie command to its caller: %w", err)
	}
	return fmt.Errorf("run %s: %w", path, syscall.Exec(path, argv, os.Environ()))
}
