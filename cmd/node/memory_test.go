package main

import (
	"math"
	"runtime/debug"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

func TestMemoryOfTheContainer(t *testing.T) {
	const mi = 1 << 20
	limited := func(n uint64) memlimit.Provider { return func() (uint64, error) { return n, nil } }
	none := func() (uint64, error) { return 0, memlimit.ErrNoLimit }
	for name, tc := range map[string]struct {
		limit                  memlimit.Provider
		env                    string
		args                   []string
		runtime, caches, value int64
	}{
		"none":     {none, "", nil, math.MaxInt64, 256 * mi, 64 * mi},
		"512Mi":    {limited(512 * mi), "", nil, 512*mi - 512*mi/10, 128 * mi, 8 * mi},
		"128Mi":    {limited(128 * mi), "", nil, 80 * mi, 32 * mi, 2 * mi},
		"32Mi":     {limited(32 * mi), "", nil, 16 * mi, 16 * mi, mi / 2},
		"64Gi":     {limited(64 << 30), "", nil, 64<<30 - 64<<30/10, 256 * mi, 64 * mi},
		"flags":    {limited(512 * mi), "", []string{"--memory", "50000000", "--max-value-bytes", "70"}, 512*mi - 512*mi/10, 50_000_000, 70},
		"the spec": {limited(512 * mi), "1GiB", nil, math.MaxInt64, 128 * mi, 8 * mi}, // the Go runtime read GOMEMLIMIT when it started
	} {
		t.Run(name, func(t *testing.T) {
			defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
			t.Setenv("GOMEMLIMIT", tc.env)
			was := containerLimit
			defer func() { containerLimit = was }()
			containerLimit = tc.limit
			opt, _, _, err := parse(append([]string{"--data", "d"}, tc.args...))
			if err != nil {
				t.Fatal(err)
			}
			if runtime := debug.SetMemoryLimit(-1); runtime != tc.runtime || opt.Memory != tc.caches || opt.MaxValueBytes != tc.value {
				t.Errorf("runtime %d, caches %d, values %d; want %d, %d, %d", runtime, opt.Memory, opt.MaxValueBytes, tc.runtime, tc.caches, tc.value)
			}
		})
	}
}
