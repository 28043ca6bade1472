package controllers

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// TestFailedPassesDoNotDelayDetection: however long a child could not be applied, the store is looked at every second.
func TestFailedPassesDoNotDelayDetection(t *testing.T) {
	limiter := retries()
	for n := range 100 {
		if wait := limiter.When(reconcile.Request{}); wait > time.Second {
			t.Fatalf("after %d failed passes the next is %v away", n+1, wait)
		}
	}
}
