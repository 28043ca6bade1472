package controllers

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// eventSink receives the events that would be sent to an API server as new ones.
type eventSink chan string

func (s eventSink) Create(_ context.Context, e *eventsv1.Event) (*eventsv1.Event, error) {
	s <- e.Note
	return e, nil
}
func (eventSink) Update(_ context.Context, e *eventsv1.Event) (*eventsv1.Event, error) { return e, nil }
func (eventSink) Patch(_ context.Context, e *eventsv1.Event, _ []byte) (*eventsv1.Event, error) {
	return e, nil
}

// Events about one version of the store are merged if they differ only in their text; each member's is reported
// nevertheless.
func TestEventsOfTwoMembersStayTwo(t *testing.T) {
	s := newScene(t)
	s.whole()
	s.store.ResourceVersion = "7"
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	sink := make(eventSink, 10)
	b := events.NewBroadcaster(sink)
	if err := b.StartRecordingToSinkWithContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer b.Shutdown()
	s.Recorder = b.NewRecorder(scheme, "operator")
	p := &pass{Reconciler: s.Reconciler, memory: s.memory, store: s.store}
	p.noted = map[string]time.Time{}
	p.announce(t.Context(), decide.Plan{Notes: []decide.Note{
		{Key: "4", Member: "orders-4", Reason: v1alpha1.ReasonSeedBegun, Action: "Seed", Message: "orders-4 is seeded"},
		{Key: "5", Member: "orders-5", Reason: v1alpha1.ReasonSeedBegun, Action: "Seed", Message: "orders-5 is seeded"},
	}})
	p.warnOf("Create", "orders-4", v1alpha1.ReasonApplyFailed, errors.New("orders-4 is refused"))
	p.warnOf("Create", "orders-5", v1alpha1.ReasonApplyFailed, errors.New("orders-5 is refused"))
	p.warn(v1alpha1.ReasonApplyFailed, errors.New("a Service is refused"))
	var told []string
	for range 5 {
		select {
		case note := <-sink:
			told = append(told, note)
		case <-time.After(time.Minute):
		}
	}
	for _, want := range []string{"orders-4 is seeded", "orders-5 is seeded", "orders-4 is refused", "orders-5 is refused", "a Service is refused"} {
		if !slices.Contains(told, want) {
			t.Errorf("%q is in no event: %q", want, told)
		}
	}
}
