package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// What members report about seeds and their disks becomes events and a condition, with reasons of their own.
func TestWhatMembersTellIsNoted(t *testing.T) {
	const spent = "needs a snapshot again after 3 in a short time, and takes none before 12:00:00 UTC"
	seeding := func(s *wire.Status) {
		s.Seeding = &wire.Seeding{ID: "abc", From: "orders-3", Position: 77, DoneBytes: 1 << 20, TotalBytes: 10 << 30, SecondsLeft: -1}
	}
	for name, tc := range map[string]struct {
		change   func(*wire.Status)
		reach    decide.Reach
		notes    []string // the beginning of each
		warning  bool
		degraded string // reason; "": not asked about
	}{
		"nothing":                     {func(*wire.Status) {}, decide.Fresh, nil, false, ""},
		"a snapshot is received":      {seeding, decide.Fresh, []string{"SeedBegun: orders-2 is receiving a snapshot of 10.0GiB from orders-3, up to position 77."}, false, ""},
		"one is waited for":           {func(s *wire.Status) { s.Seeding = &wire.Seeding{From: "orders-1"} }, decide.Fresh, nil, false, ""},
		"it does not answer any more": {seeding, decide.TimedOut, nil, false, v1alpha1.ReasonMemberMissing},
		"the budget is spent": {func(s *wire.Status) { s.Problem, s.ProblemReason = spent, wire.ProblemSeedBudget }, decide.Fresh,
			[]string{"SeedBudgetSpent: orders-2: " + spent + ". Raise spec.node.logRetention"}, true, v1alpha1.ReasonSeedBudgetSpent},
		"another problem": {func(s *wire.Status) { s.Problem, s.ProblemReason = "no room", wire.ProblemNoRoom }, decide.Fresh,
			nil, false, v1alpha1.ReasonMemberProblem},
		"its volume is full": {func(s *wire.Status) {
			s.Disk = wire.Disk{FreeBytes: 1 << 20, TotalBytes: 10 << 30, Level: wire.DiskFull}
		}, decide.Fresh,
			[]string{"StorageFull: The volume is short of space: orders-2 with 1.0MiB free of 10.0GiB. Raise spec.storage.size"}, true, v1alpha1.ReasonStorageFull},
		"its volume is nearly full": {func(s *wire.Status) {
			s.Disk = wire.Disk{FreeBytes: 1 << 30, TotalBytes: 10 << 30, Level: wire.DiskNearlyFull}
		}, decide.Fresh, []string{"StorageNearlyFull: The volume is short of space: orders-2 with 1.0GiB free of 10.0GiB. "}, true, v1alpha1.ReasonStorageNearlyFull},
		"its disk hangs": {func(s *wire.Status) {
			s.Problem, s.ProblemReason = "its disk does not finish a write", wire.ProblemDiskStuck
		}, decide.Fresh,
			[]string{"DiskStuck: orders-2: its disk does not finish a write."}, true, v1alpha1.ReasonDiskStuck},
		"its log is damaged": {func(s *wire.Status) { s.Problem, s.ProblemReason = "bad byte", wire.ProblemLogDamaged }, decide.Fresh,
			[]string{"LogDamaged: orders-2: bad byte."}, true, v1alpha1.ReasonLogDamaged},
		"its volume was put back": {func(s *wire.Status) { s.Problem, s.ProblemReason = "ended at 3", wire.ProblemVolumeOlder }, decide.Fresh,
			[]string{"VolumeOlder: orders-2: ended at 3."}, true, v1alpha1.ReasonVolumeOlder},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			w.ops[0].observe()
			o := w.ops[0].seen
			victim := ""
			for _, m := range []string{"orders-2", "orders-3"} {
				if victim == "" && m != w.rec().Leader.Member {
					victim = m
				}
			}
			m := o.Members[victim]
			s := *m.Probe.Status
			tc.change(&s)
			m.Probe = decide.Probe{Reach: tc.reach, Status: &s, For: time.Second}
			o.Members[victim] = m
			p := decide.Decide(o, w.cluster.Now())
			if len(p.Notes) != len(tc.notes) {
				t.Fatalf("notes %+v", p.Notes)
			}
			for i, n := range p.Notes {
				want := strings.ReplaceAll(tc.notes[i], "orders-2", victim)
				if !strings.HasPrefix(n.Reason+": "+n.Message, want) || n.Warning != tc.warning || n.Key == "" {
					t.Errorf("%+v, want %s", n, want)
				}
				if again := decide.Decide(o, w.cluster.Now().Add(time.Minute)).Notes[i].Key; again != n.Key {
					t.Errorf("the same fact is %q, then %q", n.Key, again)
				}
			}
			for _, c := range p.Status.Conditions {
				if c.Type == v1alpha1.ConditionDegraded && tc.degraded != "" && c.Reason != tc.degraded {
					t.Errorf("Degraded is %s %s: %s", c.Status, c.Reason, c.Message)
				}
			}
		})
	}
}

// Who relies on an annotation is told if its value has no effect.
func TestAnnotationsWithoutEffectAreNoted(t *testing.T) {
	for name, tc := range map[string]struct {
		store map[string]string
		pod   string
		want  string // "": nothing is told
	}{
		"it fences":             {map[string]string{v1alpha1.AnnotationFenced: "True"}, "", ""},
		"it pauses":             {map[string]string{v1alpha1.AnnotationReconcile: "Disabled"}, "", ""},
		"off":                   {map[string]string{v1alpha1.AnnotationFenced: "false"}, "False", ""},
		"a store is not fenced": {map[string]string{v1alpha1.AnnotationFenced: "yes"}, "", `The annotation replicatedstore.io/fenced has the value "yes", which has no effect: the only value that has one is "true".`},
		"it is not paused":      {map[string]string{v1alpha1.AnnotationReconcile: "paused"}, "", `the only value that has one is "disabled".`},
		"a pod is not fenced":   {nil, "1", `The annotation replicatedstore.io/fenced of orders-2 has the value "1"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			for k, v := range tc.store {
				w.store.Annotations[k] = v
			}
			w.pods["orders-2"].FencedAs, w.pods["orders-2"].Fenced = tc.pod, v1alpha1.Fences(tc.pod)
			w.ops[0].observe()
			notes := decide.Decide(w.ops[0].seen, w.cluster.Now()).Notes
			if tc.want == "" {
				if len(notes) != 0 {
					t.Errorf("notes %+v", notes)
				}
				return
			}
			if len(notes) != 1 || notes[0].Reason != v1alpha1.ReasonAnnotationIgnored || !notes[0].Warning || !strings.Contains(notes[0].Message, tc.want) {
				t.Errorf("notes %+v", notes)
			}
		})
	}
}
