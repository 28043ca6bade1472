package sim

import (
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// forbidLoss has the user of a store without voters withdraw the consent to loss for a while. Often one operator does not
// notice, because its cache is frozen.
func (f *faults) forbidLoss(host string) {
	if f.w.rule.K > 0 {
		return
	}
	if f.w.loop.Chance(0.7) {
		f.staleCache(host)
	}
	f.w.loop.Logf("USER forbids loss")
	f.w.api.EditStore(func(s *v1alpha1.ReplicatedStore) { s.Spec.Failover.DataLoss = v1alpha1.DataLossForbid })
	f.lasting(500*time.Millisecond, 8*time.Second, func() {
		f.w.api.EditStore(func(s *v1alpha1.ReplicatedStore) { s.Spec.Failover.DataLoss = v1alpha1.DataLossAllow })
	})
}

// consented checks a record that this operator writes. An election that may have given up acknowledged writes needs the
// consent of the store as of the start of the look that led to it, or of a later version.
func (x *pass) consented(w decide.WriteRecord) {
	rec := w.Record
	if !w.NewLeader || rec.Lost == nil || rec.Lost.Epoch != rec.Epoch {
		return
	}
	if forbidden := x.asOf.Spec.Failover.DataLoss != v1alpha1.DataLossAllow; forbidden && x.store.Generation <= x.asOf.Generation {
		breaks("%s gives up acknowledged writes in epoch %d although the store forbids it", x.name, rec.Epoch)
	}
}
