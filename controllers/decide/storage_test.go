package decide_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A leader whose volume is full is not deposed for that: those that would follow it are just as full. The store is not
// available for writes that add data, and reports per member how much is free.
func TestAFullLeaderStaysAndTheStoreSaysSo(t *testing.T) {
	w := started(t, 3, 1)
	w.ops[0].observe()
	o := w.ops[0].seen
	leader := w.rec().Leader.Member
	m := o.Members[leader]
	s := *m.Probe.Status
	s.Disk = wire.Disk{FreeBytes: 5<<20 + 1, TotalBytes: 100 << 20, ReserveBytes: 2 << 20, Level: wire.DiskFull}
	m.Probe.Status = &s
	o.Members[leader] = m
	p := decide.Decide(o, w.cluster.Now())
	if p.Risky() {
		t.Errorf("it is acted upon: %+v", p)
	}
	for _, kind := range []string{v1alpha1.ConditionAvailable, v1alpha1.ConditionDegraded} {
		c := meta.FindStatusCondition(p.Status.Conditions, kind)
		if c.Reason != v1alpha1.ReasonStorageFull || !strings.Contains(c.Message, leader+" with 5.0MiB free of 100.0MiB") {
			t.Errorf("%s is %s %s: %s", kind, c.Status, c.Reason, c.Message)
		}
	}
	for _, member := range p.Status.Members {
		if member.Name == leader {
			if g := member.Storage; g == nil || g.FreeBytes != 5<<20 || g.SizeBytes != 100<<20 || g.Free != "5.0MiB" || g.Level != "Full" {
				t.Errorf("storage of %s: %+v", leader, g)
			}
		}
	}
}

// A member that says that its disk holds it up is reported with that reason, not as one that merely does not answer.
func TestAMemberWhoseDiskHoldsItUpIsNamed(t *testing.T) {
	w := started(t, 3, 1)
	w.ops[0].observe()
	o := w.ops[0].seen
	for name, m := range o.Members {
		if name != w.rec().Leader.Member {
			m.Probe = decide.Probe{Reach: decide.TimedOut, Status: m.Probe.Status, For: time.Second, Trouble: "no progress for 3s: the disk may hang"}
			o.Members[name] = m
			p := decide.Decide(o, w.cluster.Now())
			c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionDegraded)
			if c.Reason != v1alpha1.ReasonDiskStuck || !strings.Contains(c.Message, name+": nothing moved for 3s") {
				t.Errorf("Degraded is %s %s: %s", c.Status, c.Reason, c.Message)
			}
			return
		}
	}
}
