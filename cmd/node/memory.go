package main

import (
	"flag"
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/node"
)

// containerLimit returns the memory limit of this process's control group, in bytes. Tests replace it.
var containerLimit memlimit.Provider = memlimit.FromCgroup

// fit derives the memory settings that were not given from the container's memory limit, if there is one. The limit may come from somebody
// who does not know this program, for example from a namespace's LimitRange.
func fit(opt *node.Options, f *flag.FlagSet) {
	limit, err := containerLimit()
	if err != nil || limit == 0 || limit > math.MaxInt64 {
		return // no limit, or an unknown one
	}
	runtime, caches, value := v1alpha1.WithinMemory(int64(limit))
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(runtime)
	}
	given := map[string]bool{}
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	if !given["memory"] {
		opt.Memory = max(node.MinMemory, min(opt.Memory, caches))
	}
	if !given["max-value-bytes"] {
		opt.MaxValueBytes = max(1, min(opt.MaxValueBytes, value))
	}
}
