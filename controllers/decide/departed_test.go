package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A pod whose object vanished counts as being deleted while its process answers, for a bounded time.
func TestPodWhoseObjectVanishedIsRemembered(t *testing.T) {
	there := func() map[string]decide.Member {
		return map[string]decide.Member{"orders-1": {Name: "orders-1", Pod: &decide.Pod{UID: "1", IP: "192.0.2.1", Ready: true}}}
	}
	gone := func() map[string]decide.Member { return map[string]decide.Member{"orders-1": {Name: "orders-1"}} }
	yes := func(string) bool { return true }
	no := func(string) bool { return false }
	now := time.Unix(1000, 0)
	d := decide.Departed{}

	m := gone()
	if d.Recall(m, yes, now); m["orders-1"].Pod != nil {
		t.Fatal("a pod that was never seen is remembered")
	}
	d.Recall(there(), yes, now)
	m = gone()
	d.Recall(m, yes, now)
	if p := m["orders-1"].Pod; p == nil || !p.Departed || !p.Deleting || p.Ready || p.IP != "192.0.2.1" {
		t.Fatalf("after its object vanished: %+v", p)
	}

	fresh := m["orders-1"]
	fresh.Probe = decide.Probe{Reach: decide.Fresh, Status: &wire.Status{}}
	m["orders-1"] = fresh
	if d.Dismiss(m); m["orders-1"].Pod == nil {
		t.Fatal("one that answers is dismissed")
	}
	fresh.Probe.Reach = decide.Refused
	m["orders-1"] = fresh
	if d.Dismiss(m); m["orders-1"].Pod != nil {
		t.Fatal("one that does not answer is kept")
	}
	m = gone()
	if d.Recall(m, no, now); m["orders-1"].Pod != nil {
		t.Fatal("one that did not answer is asked again")
	}
	m = gone()
	if d.Recall(m, yes, now.Add(time.Minute)); m["orders-1"].Pod != nil {
		t.Fatal("one whose process never ends is remembered for ever")
	}

	d.Recall(there(), yes, now)
	m = gone()
	if d.Recall(m, yes, now.Add(time.Minute)); m["orders-1"].Pod == nil {
		t.Fatal("the time counts from before the object vanished")
	}
	d.Recall(map[string]decide.Member{}, yes, now)
	m = gone()
	if d.Recall(m, yes, now.Add(time.Minute)); m["orders-1"].Pod != nil {
		t.Fatal("a member without pod and claim is remembered")
	}
}
