package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if os.Getenv("QUIET_MONITOR") == "1" { // here, as in main, the goroutine is still locked to the first thread
		for range 30 { // with others running, a goroutine that is not locked would move to another thread
			go func() {
				for begun := time.Now(); time.Since(begun) < 2*time.Millisecond; {
				}
			}()
			time.Sleep(time.Millisecond)
		}
		err := quietMonitor()
		var signal int32
		err = errors.Join(err, unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&signal)), 0, 0, 0))
		fmt.Println(os.Getpid(), os.Getenv("GODEBUG"), syscall.Signal(signal), err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// quietMonitor keeps the process, its arguments, the GODEBUG settings that it was given, and the signal that it gets when its parent
// dies.
func TestQuietMonitor(t *testing.T) {
	runtime.LockOSThread() // the signal is sent when this thread ends
	defer runtime.UnlockOSThread()
	for given, want := range map[string]string{
		"":                           monitorSetting,
		"gctrace=0":                  "gctrace=0," + monitorSetting,
		"schedtrace=9000":            "schedtrace=9000",
		"gctrace=0,schedtrace=90000": "gctrace=0,schedtrace=90000",
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestQuietMonitor$")
		cmd.Env = append(os.Environ(), "QUIET_MONITOR=1", "GODEBUG="+given)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(out)); got != fmt.Sprint(cmd.Process.Pid, " ", want, " ", syscall.SIGKILL, " <nil>") {
			t.Errorf("GODEBUG=%q: the program said %q, want pid %d and %q", given, got, cmd.Process.Pid, want)
		}
	}
}
