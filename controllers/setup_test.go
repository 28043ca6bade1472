package controllers

import (
	"context"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// TestFailedPassesDoNotDelayDetection checks that, however long a child could not be applied, the store is looked at every
// second.
func TestFailedPassesDoNotDelayDetection(t *testing.T) {
	limiter := retries()
	for n := range 100 {
		if wait := limiter.When(reconcile.Request{}); wait > time.Second {
			t.Fatalf("after %d failed passes the next is %v away", n+1, wait)
		}
	}
}

// filling is a source whose cache is being filled until the channel is closed.
type filling chan struct{}

func (filling) Start(context.Context, queue) error { return nil }

func (f filling) WaitForSync(ctx context.Context) error {
	select {
	case <-f:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// An operator whose caches are still being filled is not ready: otherwise its predecessor would end too early in an upgrade.
func TestAnOperatorIsReadyOnceItsCachesAre(t *testing.T) {
	r := &Reconciler{}
	c, err := controller.NewUnmanaged("ready", controller.Options{
		Reconciler: r, SkipNameValidation: new(true), LogConstructor: func(*reconcile.Request) logr.Logger { return logr.Discard() },
	})
	if err != nil {
		t.Fatal(err)
	}
	full := make(filling)
	for _, s := range []source.Source{woken(make(chan types.NamespacedName)), full} {
		if err := c.Watch(s); err != nil {
			t.Fatal(err)
		}
	}
	go func() { _ = c.Start(t.Context()) }()
	time.Sleep(50 * time.Millisecond)
	if r.Ready(nil) == nil {
		t.Error("ready, and a cache is being filled")
	}
	close(full)
	for deadline := time.Now().Add(time.Minute); r.Ready(nil) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(r.Ready(nil))
		}
	}
}
