package v1alpha1

import "strings"

// Defaults of the schema, for code that reads objects which never passed through the API server (tests, offline rendering).
const (
	DefaultReplicas             = 3
	DefaultSynchronousNumber    = 1
	DefaultLeaseDurationSeconds = 6
	DefaultWriteTimeoutSeconds  = 10
	DefaultGracePeriodSeconds   = 30
)

// Size returns the number of members that the spec asks for, the leader included.
func (s *ReplicatedStoreSpec) Size() int { return int(valueOr(s.Replicas, DefaultReplicas)) }

// SynchronousNumber returns how many followers must hold a write before it is acknowledged.
func (s *ReplicatedStoreSpec) SynchronousNumber() int {
	return int(valueOr(s.Replication.Synchronous.Number, DefaultSynchronousNumber))
}

// LeaseDuration returns the duration of the leader's Lease, in seconds.
func (s *ReplicatedStoreSpec) LeaseDuration() int32 {
	return valueOr(s.Failover.LeaseDurationSeconds, DefaultLeaseDurationSeconds)
}

// WriteTimeout returns how long a write waits for its followers, in seconds.
func (s *ReplicatedStoreSpec) WriteTimeout() int32 {
	return valueOr(s.Replication.WriteTimeoutSeconds, DefaultWriteTimeoutSeconds)
}

// GracePeriod returns the termination grace period of a member's pod, in seconds.
func (s *ReplicatedStoreSpec) GracePeriod() int64 {
	return valueOr(s.Scheduling.TerminationGracePeriodSeconds, DefaultGracePeriodSeconds)
}

// Paused reports whether AnnotationReconcile tells the operator to leave the store alone.
func (s *ReplicatedStore) Paused() bool {
	return strings.EqualFold(s.Annotations[AnnotationReconcile], ReconcileDisabled)
}

// Fenced reports whether the store is fenced by AnnotationFenced.
func (s *ReplicatedStore) Fenced() bool { return Fences(s.Annotations[AnnotationFenced]) }

// Fences reports whether AnnotationFenced has an effect with this value.
func Fences(value string) bool { return strings.EqualFold(value, FencedTrue) }

func valueOr[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
