//go:build e2e

package e2e

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

const apiOutage = 2 * time.Minute

var _ = Describe("the API server", func() {
	It("is down for two minutes: writes go on", func(ctx SpecContext) {
		onOwnCluster()
		t := begin(ctx, usual(ctx))
		t.fault("stop the API server", world.Cluster.StopAPI(ctx))
		DeferCleanup(world.Cluster.StartAPI)
		for time.Since(t.began) < apiOutage {
			t.writes(ctx, "without an API server")
			past(ctx, time.Now().Add(5*time.Second))
		}
		t.fault("start the API server", world.Cluster.StartAPI(ctx))
		t.writes(ctx, "with the API server back")
		t.end(ctx)
		Expect(t.row.Leaderships).To(Equal(1), "an outage of the API server is no reason for another leader")
	}, SpecTimeout(4*readyTimeout))

	It("is down when the leader dies: writes stop, and go on by themselves when it is back", func(ctx SpecContext) {
		onOwnCluster()
		store := usual(ctx)
		t := begin(ctx, store)
		t.fault("stop the API server", world.Cluster.StopAPI(ctx))
		DeferCleanup(world.Cluster.StartAPI)
		t.fault("kill the process of "+t.leader, world.Cluster.KillProcess(ctx, store.Namespace, t.leader))
		t.stopped(ctx, 10*time.Second)
		t.fault("start the API server", world.Cluster.StartAPI(ctx))
		t.led(ctx)
		t.end(ctx)
	}, SpecTimeout(4*readyTimeout))

	It("is slow, and answers 429, 409, and 504 for what it did, while the leader dies", func(ctx SpecContext) {
		onOwnCluster()
		store := usual(ctx)
		t := begin(ctx, store)
		stop := badAPI(ctx, world.Cluster)
		DeferCleanup(func() { stop() })
		past(ctx, time.Now().Add(3*time.Second))
		t.fault("kill the process of "+t.leader, world.Cluster.KillProcess(ctx, store.Namespace, t.leader))
		t.led(ctx)
		ready(ctx, store)
		n := stop()
		note("%d requests passed, %d times 429, %d times 409, %d times 504 for a write that happened", n.Passed, n.Refused, n.Conflicts, n.Late)
		Expect(min(n.Passed, n.Refused, n.Conflicts, n.Late)).To(BeNumerically(">", 0), "the fault must have been there: %+v", n)
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))

	It("comes back with an older copy of etcd, from before a failover", func(ctx SpecContext) {
		onOwnCluster()
		store := usual(ctx)
		t := begin(ctx, store)
		t.fault("copy etcd", world.Cluster.SaveEtcd(ctx, "e2e"))
		t.writes(ctx, "after the copy")
		Expect(world.Cluster.KillProcess(ctx, store.Namespace, t.leader)).To(Succeed())
		before := t.led(ctx)
		ready(ctx, store)
		t.fault("restore the copy of etcd", world.Cluster.RestoreEtcd(ctx, "e2e"))
		ledAfter(ctx, store, before.Status.Epoch-1) // the copy knows the previous epoch; whoever leads may keep leading
		// Until its watches start over, the operator shows the old record.
		rs, err := store.Wait(ctx, tell, func(rs *v1alpha1.ReplicatedStore) error {
			if r := rs.Status.LastFailover; r.Reason != "RecordLost" {
				return fmt.Errorf("reported is %s", r.Reason)
			}
			return stage.LedAfter(before.Status.Epoch - 1)(rs)
		})
		Expect(err).NotTo(HaveOccurred())
		Expect(rs.Status.LastFailover.WritesLost).To(Equal(v1alpha1.LostNone))
		t.row.read(fmt.Sprintf("report: %s RecordLost, lost %s", rs.Status.LastFailover.Kind, rs.Status.LastFailover.WritesLost))
		t.sees(ctx, v1alpha1.ConditionAvailable, metav1.ConditionTrue, v1alpha1.ReasonWritable)
		// The restored Service points at the former leader. That would do for as long as that member lives, because it hands
		// writes on.
		Eventually(ctx, func(g Gomega) {
			g.Expect(behind(ctx, g, store, v1alpha1.ServiceReadWrite(store.Name))).To(Equal([]string{rs.Status.Leader}))
		}, changeTimeout, 200*time.Millisecond).Should(Succeed())
		t.end(ctx)
	}, SpecTimeout(3*readyTimeout))
})
