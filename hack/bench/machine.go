package main

import (
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/prometheus/procfs"
)

const (
	// lookTime is how long the machine is observed before anything is started on it.
	lookTime = 2 * time.Second
	// quietShare is the share of the processors that others may keep busy without a warning.
	quietShare = 0.05
)

// machine describes this machine, and how much of it others are using now.
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

// processorsBusy returns the total CPU time used on all processors since boot, in seconds.
func processorsBusy() (float64, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return 0, err
	}
	stat, err := fs.Stat()
	c := stat.CPUTotal
	return c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal, err
}
