package decide_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// watchFor looks at a world for d, changing one member's status at each look, and returns Degraded at the end.
func watchFor(t *testing.T, w *world, member string, d time.Duration, change func(s *wire.Status, look int)) (reason, message string) {
	t.Helper()
	op := w.ops[0]
	for look := range int(d / time.Second) {
		op.pass = decide.Pass{}
		op.observe()
		m := op.seen.Members[member]
		s := *m.Probe.Status
		change(&s, look)
		m.Probe.Status = &s
		op.seen.Members[member] = m
		op.decide()
		w.cluster.Advance(time.Second)
		w.cluster.Settle()
		w.renew()
	}
	for _, c := range op.plan.Status.Conditions {
		if c.Type == v1alpha1.ConditionDegraded {
			return c.Reason, c.Message
		}
	}
	return "", ""
}

// TestNoProgress checks that a member that answers but makes no progress is reported after a minute, whatever figure stands
// still.
func TestNoProgress(t *testing.T) {
	for name, tc := range map[string]struct {
		member string
		change func(s *wire.Status, look int)
		says   string
	}{
		"its log":            {"orders-3", func(s *wire.Status, _ int) { s.Durable.Position -= 2; s.Applied = s.Durable.Position }, "has been stuck at log position"},
		"its state":          {"orders-3", func(s *wire.Status, _ int) { s.Applied -= 2 }, "has applied nothing beyond position"},
		"the leader's state": {"orders-1", func(s *wire.Status, _ int) { s.Applied -= 2 }, "has applied nothing beyond position"},
		"its snapshot": {"orders-3", func(s *wire.Status, _ int) {
			s.Seeding = &wire.Seeding{ID: "x", From: "orders-1", DoneBytes: 1 << 20, TotalBytes: 1 << 30}
		}, "has made no progress on its snapshot from orders-1 beyond 1.0MiB of 1.0GiB"},
		"a snapshot that moves": {"orders-3", func(s *wire.Status, n int) {
			s.Seeding = &wire.Seeding{ID: "x", From: "orders-1", DoneBytes: int64(n) << 20, TotalBytes: 1 << 30}
		}, ""},
		"nothing is wrong": {"orders-3", func(*wire.Status, int) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			w.run(time.Second)
			if reason, message := watchFor(t, w, tc.member, 50*time.Second, tc.change); reason == v1alpha1.ReasonMemberStuck {
				t.Fatalf("after 50 s: %s", message)
			}
			reason, message := watchFor(t, w, tc.member, 15*time.Second, tc.change)
			if (reason == v1alpha1.ReasonMemberStuck) != (tc.says != "") || !strings.Contains(message, tc.says) {
				t.Fatalf("%s: %s", reason, message)
			}
		})
	}
}

// TestHistory checks that earlier reports are kept, newest first, and no more than ten.
func TestHistory(t *testing.T) {
	w := started(t, 3, 1)
	for n := range 13 {
		to := []string{"orders-2", "orders-1"}[n%2]
		w.store.Annotations[v1alpha1.AnnotationFailover] = to
		w.until(to+" leads", func() bool {
			return w.rec().Leader.Member == to && w.rec().Phase == decide.PhaseStable && w.ops[0].plan.State == decide.Stable
		})
	}
	h, last := w.store.Status.Failovers, w.store.Status.LastFailover
	if len(h) != v1alpha1.MaxHistory || last.Epoch != 14 || h[0].Epoch != 13 || h[9].Epoch != 4 {
		t.Fatalf("%d reports, newest %d, then %+v", len(h), last.Epoch, h)
	}
	for _, r := range h {
		if r.Result != v1alpha1.ResultSucceeded || r.Durations.Total == nil || r.WritesLost != v1alpha1.LostNone || r.Positions != nil {
			t.Fatalf("%+v", r)
		}
	}
}

// TestResizing checks what is reported about the volumes of a store that was asked to grow.
func TestResizing(t *testing.T) {
	const refusal = "only dynamically provisioned pvc can be resized"
	for name, tc := range map[string]struct {
		capacity, growth, refused string
		reason, says              string
	}{
		"as asked for":             {"2Gi", "", "", v1alpha1.ReasonSizeAsAskedFor, ""},
		"growing":                  {"1Gi", "Resizing", "", v1alpha1.ReasonGrowing, "2 of 3 volumes have 2Gi"},
		"not begun":                {"1Gi", "", "", v1alpha1.ReasonGrowing, "growing: orders-2"},
		"the file system is left":  {"1Gi", "FileSystemResizePending", "", v1alpha1.ReasonFileSystemResizePending, "kubectl rstore restart orders"},
		"the driver cannot":        {"1Gi", "ControllerResizeError", "", v1alpha1.ReasonResizeFailed, "quota exceeded. It retries by itself: make room for it; or, if it can create a new volume"},
		"the class does not allow": {"1Gi", "", refusal, v1alpha1.ReasonVolumeNotExpandable, refusal},
		"and what can be done":     {"1Gi", "", refusal, v1alpha1.ReasonVolumeNotExpandable, "or, if volumes of that size can be created, replace them"},
		"not bound yet":            {"0", "", "", v1alpha1.ReasonSizeAsAskedFor, ""},
		"made anew since":          {"2Gi", "", refusal, v1alpha1.ReasonSizeAsAskedFor, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			w.store.Spec.Storage.Size = resource.MustParse("2Gi")
			op := w.ops[0]
			op.observe()
			for n, m := range op.seen.Members {
				c := *m.Claim
				if c.Capacity = resource.MustParse("2Gi"); n == "orders-2" {
					c.Capacity, c.Growth, c.GrowthMessage, c.Refused = resource.MustParse(tc.capacity), tc.growth, "quota exceeded", tc.refused
					c.Requested = c.Capacity
				}
				m.Claim = &c
				op.seen.Members[n] = m
			}
			op.decide()
			for _, c := range op.plan.Status.Conditions {
				if c.Type == v1alpha1.ConditionResizing && (c.Reason != tc.reason || !strings.Contains(c.Message, tc.says) || (c.Status == "False") != (tc.reason == v1alpha1.ReasonSizeAsAskedFor)) {
					t.Fatalf("%s %s: %s", c.Status, c.Reason, c.Message)
				}
			}
		})
	}
}
