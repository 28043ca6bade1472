package v1alpha1

// The schema's defaults, for code that reads an object which never passed the API server (tests, offline rendering).
const (
	DefaultReplicas             = 3
	DefaultSynchronousNumber    = 1
	DefaultLeaseDurationSeconds = 6
	DefaultWriteTimeoutSeconds  = 10
	DefaultGracePeriodSeconds   = 30
)

// Size is the number of members that the spec asks for, the leader included.
func (s *ReplicatedStoreSpec) Size() int { return int(valueOr(s.Replicas, DefaultReplicas)) }

// SynchronousNumber is how many followers must hold a write before it is acknowledged.
func (s *ReplicatedStoreSpec) SynchronousNumber() int {
	return int(valueOr(s.Replication.Synchronous.Number, DefaultSynchronousNumber))
}

// LeaseDuration of the leader's Lease, in seconds.
func (s *ReplicatedStoreSpec) LeaseDuration() int32 {
	return valueOr(s.Failover.LeaseDurationSeconds, DefaultLeaseDurationSeconds)
}

// WriteTimeout is how long a write waits for its followers, in seconds.
func (s *ReplicatedStoreSpec) WriteTimeout() int32 {
	return valueOr(s.Replication.WriteTimeoutSeconds, DefaultWriteTimeoutSeconds)
}

// GracePeriod of a member's pod, in seconds.
func (s *ReplicatedStoreSpec) GracePeriod() int64 {
	return valueOr(s.Scheduling.TerminationGracePeriodSeconds, DefaultGracePeriodSeconds)
}

// Paused tells whether the operator was told to leave the store alone.
func (s *ReplicatedStore) Paused() bool {
	return s.Annotations[AnnotationReconcile] == ReconcileDisabled
}

// Fenced tells whether the store is fenced by annotation.
func (s *ReplicatedStore) Fenced() bool { return s.Annotations[AnnotationFenced] == FencedTrue }

func valueOr[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
