package decide

import "github.com/replicatedstore/replicatedstore/api/v1alpha1"

// TellFirst reports whether status must be published before the plan is carried out, and whether the plan must wait until it
// is, however long that takes. store is the store as it is published.
func (p Plan) TellFirst(store *v1alpha1.ReplicatedStore) (first, waits bool) {
	weaker, waits := p.weaker(store)
	return weaker || p.Risky() && p.untold(store), waits
}

// untold reports whether a change of leader has ended but status does not say so yet. The next step of this pass may begin
// another change, and the report on this one would never be published.
func (p Plan) untold(store *v1alpha1.ReplicatedStore) bool {
	now, told := p.Status.LastFailover, store.Status.LastFailover
	return now != nil && now.Result.Finished() && (told == nil || told.Epoch != now.Epoch || !told.Result.Finished())
}

// weaker reports whether the plan has a leader acknowledge with fewer synchronous followers than status says, and whether
// that must wait until status says so. Lowering durability under a leader waits; promoting a leader does not.
func (p Plan) weaker(store *v1alpha1.ReplicatedStore) (weaker, waits bool) {
	if p.Status.Replication.Number >= store.Status.Replication.Number {
		return false, false
	}
	for _, a := range p.Actions {
		switch a.(type) {
		case ConfigureLeader:
			return true, store.Spec.Replication.Synchronous.Durability == v1alpha1.DurabilityPreferred
		case PromoteMember:
			return true, false
		}
	}
	return false, false
}
