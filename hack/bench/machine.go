package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"time"
)

const (
	// lookTime is for how long the machine is watched before anything is started on it.
	lookTime = 2 * time.Second
	// quietShare of the processors may be busy with something else before that is worth a word.
	quietShare = 0.05
)

// machine describes the one this runs on, and how much of it others use now.
func machine(out io.Writer) (string, error) {
	before, err := processorsBusy()
	if err != nil {
		return "", err
	}
	time.Sleep(lookTime)
	after, err := processorsBusy()
	if err != nil {
		return "", err
	}
	share := (after - before).Seconds() / lookTime.Seconds() / float64(runtime.NumCPU())
	if share > quietShare {
		fmt.Fprintf(out, "Something else keeps %.0f %% of the processors busy: what is limited by them will be measured as less than it is.\n", 100*share)
	}
	return fmt.Sprintf("%d processors, %s/%s, %.0f %% of them busy with something else before the run",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, 100*share), nil
}

// processorsBusy is for how long processors have been busy since the machine was started, all of them together. See proc(5).
func processorsBusy() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return busyOf(b)
}

func busyOf(stat []byte) (busy time.Duration, err error) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(line)
	const user, nice, system, irq, softirq, steal = 1, 2, 3, 6, 7, 8
	if len(fields) <= steal || string(fields[0]) != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	for _, i := range []int{user, nice, system, irq, softirq, steal} {
		ticks, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		busy += time.Duration(ticks) * time.Second / ticksPerSecond
	}
	return busy, nil
}
