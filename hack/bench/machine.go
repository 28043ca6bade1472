package main

import (
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/prometheus/procfs"
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
	share := (after - before) / lookTime.Seconds() / float64(runtime.NumCPU())
	if share > quietShare {
		fmt.Fprintf(out, "Something else keeps %.0f %% of the processors busy: what is limited by them will be measured as less than it is.\n", 100*share)
	}
	return fmt.Sprintf("%d processors, %s/%s, %.0f %% of them busy with something else before the run",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, 100*share), nil
}

// processorsBusy is for how long processors have been busy since the machine was started, in seconds, all of them together.
func processorsBusy() (float64, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return 0, err
	}
	stat, err := fs.Stat()
	c := stat.CPUTotal
	return c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal, err
}
