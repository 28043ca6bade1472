package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The program goes on in the same process, with its arguments and whatever GODEBUG it was given.
func TestQuietMonitor(t *testing.T) {
	if os.Getenv("QUIET_MONITOR") == "1" {
		err := quietMonitor()
		fmt.Println(os.Getpid(), os.Getenv("GODEBUG"), err)
		os.Exit(0)
	}
	for given, want := range map[string]string{
		"":                           monitorSetting,
		"gctrace=0":                  "gctrace=0," + monitorSetting,
		"schedtrace=9000":            "schedtrace=9000",
		"gctrace=0,schedtrace=90000": "gctrace=0,schedtrace=90000",
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestQuietMonitor$")
		cmd.Env = append(os.Environ(), "QUIET_MONITOR=1", "GODEBUG="+given)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(out)); got != fmt.Sprint(cmd.Process.Pid, " ", want, " <nil>") {
			t.Errorf("GODEBUG=%q: the program said %q, want pid %d and %q", given, got, cmd.Process.Pid, want)
		}
	}
}
