package controllers

import (
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/events"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// A note becomes an event once: not again while it is seen, not after its member was silent for a moment, and not because
// the operator was restarted.
func TestNotesAreToldOnce(t *testing.T) {
	m, now := newMemory(), time.Unix(1000, 0)
	tell := func(keys ...string) (n int) {
		var notes []decide.Note
		for _, k := range keys {
			notes = append(notes, decide.Note{Key: k})
		}
		return len(m.fresh(notes, false, now))
	}
	for i, step := range []struct {
		later time.Duration
		keys  []string
		want  int
	}{
		{0, []string{"seen by the operator before"}, 0},
		{time.Second, []string{"seen by the operator before", "new"}, 1},
		{time.Second, []string{"new"}, 0},
		{time.Minute, nil, 0},
		{time.Second, []string{"new", "newer"}, 1},
		{noteAgain + time.Second, nil, 0},
		{time.Second, []string{"new"}, 1},
	} {
		now = now.Add(step.later)
		if got := tell(step.keys...); got != step.want {
			t.Errorf("step %d: %d notes told, want %d", i, got, step.want)
		}
	}
}

// A note that nobody else may have told is told by an operator that has just started, too, as soon as it acts. It looks at its stores
// before it is elected.
func TestNotesThatAreToldAtFirst(t *testing.T) {
	for name, before := range map[string]int{"it acts from the start": 0, "it was on standby": 2} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.whole()
			p := &pass{Reconciler: s.Reconciler, memory: s.memory, store: s.store}
			notes := []decide.Note{
				{Key: "a", AtFirst: true, Reason: v1alpha1.ReasonAnnotationIgnored, Action: "Check", Message: "told at first"},
				{Key: "b", Reason: v1alpha1.ReasonSeedBegun, Action: "Seed", Message: "told by the operator before"},
			}
			others := decide.Note{Key: "c", Reason: v1alpha1.ReasonSeedBegun, Action: "Seed", Message: "told by the operator that acts"}
			look := func(standby bool) (told []string) {
				p.announce(t.Context(), decide.Plan{Standby: standby, State: decide.Stable, Notes: notes})
				for recorded := s.Recorder.(*events.FakeRecorder).Events; len(recorded) > 0; {
					told = append(told, <-recorded)
				}
				return told
			}
			for range before {
				if told := look(true); len(told) != 0 {
					t.Errorf("on standby: %q", told)
				}
				notes = append(notes[:2:2], others)
			}
			if told := look(false); len(told) != 1 || !strings.HasSuffix(told[0], "told at first") {
				t.Errorf("%q", told)
			}
			if told := append(look(false), look(true)...); len(told) != 0 {
				t.Errorf("again: %q", told)
			}
		})
	}
}

// What this operator applied is not applied again while no other operator was elected, and all of it is applied again once
// one was.
func TestWhatWasAppliedIsForgottenOnceAnotherOperatorActed(t *testing.T) {
	m := newMemory()
	m.resume(1)
	m.applied["Pod/orders-1"] = applied{hash: "as it is"}
	if m.resume(1); len(m.applied) != 1 {
		t.Error("forgotten, and nobody else acted")
	}
	if m.resume(2); len(m.applied) != 0 {
		t.Error("kept, and another operator may have applied something else")
	}
}

// A pass whose look fails records that in the memory.
func TestAFailedLookIsNoSight(t *testing.T) {
	s := newScene(t)
	s.whole()
	if _, err := s.pass(t); err != nil {
		t.Fatal(err)
	}
	s.memory.Facts.Since["no renewal"], s.memory.Facts.Looked = time.Now().Add(-time.Minute), time.Now().Add(-time.Minute)
	delete(s.members.is, "orders-1") // so that the record is read
	s.Reader = failing{errors.New("no API server")}
	if _, err := s.pass(t); err == nil || len(s.memory.Facts.Since) > 0 {
		t.Errorf("%v; held %v", err, s.memory.Facts.Since)
	}
}
