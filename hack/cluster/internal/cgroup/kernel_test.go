//go:build clustertest

package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestOnTheKernel creates, fills and clears groups in every kind of hierarchy that this machine has mounted.
func TestOnTheKernel(t *testing.T) {
	host, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[string]Host{"detected": host}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[2] == "cgroup2" {
			hosts["v2 at "+f[1]] = Host{mounts: []string{f[1]}, v2: true}
		}
	}
	for name, host := range hosts {
		t.Run(name, func(t *testing.T) {
			top := host.Group(fmt.Sprintf("rstore-test-%d", os.Getpid()))
			t.Cleanup(func() {
				if err := top.Clear(10 * time.Second); err != nil {
					t.Error(err)
				}
			})
			if err := top.Child("n1").Create(); err != nil {
				t.Fatal(err)
			}
			procs, err := top.Child("n1").Child("system").CreateLeaf()
			if err != nil {
				t.Fatal(err)
			}
			sleeper := exec.Command("sleep", "600")
			if err := sleeper.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- sleeper.Wait() }()
			if err := os.WriteFile(procs, fmt.Appendf(nil, "%d", sleeper.Process.Pid), 0o644); err != nil {
				t.Fatal(err)
			}
			if got, err := top.Processes(); err != nil || !slices.Equal(got, []int{sleeper.Process.Pid}) {
				t.Errorf("processes = %v, %v", got, err)
			}
			if err := top.Clear(10 * time.Second); err != nil || top.Exists() {
				t.Fatalf("clear: %v, exists %v", err, top.Exists())
			}
			if err := <-ended; err == nil {
				t.Error("the process was not killed")
			}
		})
	}
}
