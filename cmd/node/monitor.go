package main

import (
	"os"
	"runtime"
	"strings"
	"syscall"
)

// A blocking system call, such as fdatasync, wakes the Go runtime's monitor thread when all else is idle, and that then looks
// around every 20 µs for a millisecond: two context switches each time, in a program that blocks a thousand times a second.
// While the runtime traces its scheduler, the monitor is never put to sleep and so never woken, and settles on looking every
// 10 ms. A trace that is due every 25 days is the only way to ask for that; it costs one line on standard error then.
//
// Measured (three members, two processors; ratio of processor time a SET, of the median latency): 1 connection 0.69, 0.82;
// 50 connections 0.76, 0.88; 256 connections 0.90, 0.97. GET over 50 connections 0.71.
const monitorSetting = "schedtrace=2147483647"

// The process's first thread executes main, and so the program again: what the kernel keeps for a thread, such as the signal
// it is to get when its parent dies (which hack/local relies on), outlives that only there.
func init() { runtime.LockOSThread() }

// quietMonitor starts the program again, in the same process, with that setting, because the runtime reads it only at the
// start. It returns when the setting is there already, or somebody set another, or that failed: then nothing is lost but speed.
func quietMonitor() error {
	defer runtime.UnlockOSThread()
	debug := os.Getenv("GODEBUG")
	if strings.Contains(debug, "schedtrace=") {
		return nil
	}
	if debug != "" {
		debug += ","
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Setenv("GODEBUG", debug+monitorSetting); err != nil {
		return err
	}
	return os.NewSyscallError("exec", syscall.Exec(self, os.Args, os.Environ()))
}
