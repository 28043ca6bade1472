// Package randtest gives tests a source of randomness that can be repeated.
package randtest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// New returns a random source and logs its seed. Set RSTORE_TEST_SEED to run a seed again.
func New(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("RSTORE_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
