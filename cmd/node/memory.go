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

// containerLimit is the memory limit of the control group that this process is in, in bytes; a variable for tests.
var containerLimit memlimit.Provider = memlimit.FromCgroup

// fit has what f was not given follow from the container's memory limit, if it has one: whoever set that, as the defaults of a namespace do,
// need not know of this program.
func fit(opt *node.Options, f *flag.FlagSet) {
	limit, err := containerLimit()
	if err != nil || limit == 0 || limit > math.MaxInt64 {
		return // there is none, or nothing is known of it
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
