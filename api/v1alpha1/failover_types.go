package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FailoverKind is the kind of a change of leader.
//
// +kubebuilder:validation:Enum=Bootstrap;Failover;Handover;Wake
type FailoverKind string

const (
	// KindBootstrap is the election of the first leader.
	KindBootstrap FailoverKind = "Bootstrap"
	// KindFailover replaces a leader that was lost.
	KindFailover FailoverKind = "Failover"
	// KindHandover replaces a leader that lives, and loses nothing.
	KindHandover FailoverKind = "Handover"
	// KindWake brings a store back from hibernation.
	KindWake FailoverKind = "Wake"
)

// FailoverResult is the outcome of a change of leader, so far.
//
// +kubebuilder:validation:Enum=Running;Succeeded;Blocked;Failed;Refused
type FailoverResult string

const (
	// ResultRunning means that the change is not finished.
	ResultRunning FailoverResult = "Running"
	// ResultSucceeded means that the new leader acknowledges writes.
	ResultSucceeded FailoverResult = "Succeeded"
	// ResultBlocked means that the change is not finished, and waits for the gate that the message names.
	ResultBlocked FailoverResult = "Blocked"
	// ResultFailed means that the change was given up, and the store is led as before (a handover) or by a later attempt; or, of a
	// request, that another member than the target was elected.
	ResultFailed FailoverResult = "Failed"
	// ResultRefused means that a request was not begun. The message says why.
	ResultRefused FailoverResult = "Refused"
)

// Finished reports whether the result is final.
func (r FailoverResult) Finished() bool {
	return r == ResultSucceeded || r == ResultFailed || r == ResultRefused
}

// Values of FailoverReport.WritesLost that are not numbers.
const (
	// LostNone means that the new leader provably holds every acknowledged write.
	LostNone = "none"
	// LostUnknown means that the old leader may have acknowledged writes that no other member saw.
	LostUnknown = "unknown"
)

// FailoverReport says what a change of leader did, and what it cost. Times are by the operator's clock.
type FailoverReport struct {
	// kind of the change.
	// +required
	Kind FailoverKind `json:"kind"`
	// reason says, in one CamelCase word, what started the change; for example LeaseExpired, LeaderSilent or Requested.
	// +optional
	Reason string `json:"reason,omitempty"`
	// result so far.
	// +required
	Result FailoverResult `json:"result"`
	// message is one sentence about the change, for people.
	// +optional
	Message string `json:"message,omitempty"`
	// from is the member that led before.
	// +optional
	From string `json:"from,omitempty"`
	// to is the new leader, once chosen.
	// +optional
	To string `json:"to,omitempty"`
	// fromEpoch is the epoch of the old leadership.
	// +optional
	FromEpoch int64 `json:"fromEpoch,omitempty"`
	// epoch is the epoch of the new leadership.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`
	// detectedTime is when the operator decided that the leader was lost, or took up the request.
	// +optional
	DetectedTime *metav1.MicroTime `json:"detectedTime,omitempty"`
	// fencedTime is when enough members had promised the new epoch.
	// +optional
	FencedTime *metav1.MicroTime `json:"fencedTime,omitempty"`
	// promotedTime is when the new leader was recorded and told.
	// +optional
	PromotedTime *metav1.MicroTime `json:"promotedTime,omitempty"`
	// writableTime is when the new leader began to acknowledge writes.
	// +optional
	WritableTime *metav1.MicroTime `json:"writableTime,omitempty"`
	// durations between those times.
	// +optional
	Durations FailoverDurations `json:"durations,omitzero"`
	// positions are the log positions that were compared to choose the new leader.
	// +optional
	// +listType=map
	// +listMapKey=member
	Positions []ComparedPosition `json:"positions,omitempty"`
	// writesLost says how many acknowledged writes the new leader may not hold. "none": it provably holds all. A number: how many
	// writes the old leader was ahead when it was last heard; more may be lost. "unknown": the old leader may have acknowledged
	// writes that no other member saw.
	// +optional
	// +kubebuilder:validation:Pattern=`^(none|unknown|[1-9][0-9]*)$`
	WritesLost string `json:"writesLost,omitempty"`
}

// FailoverDurations says how long the steps of a change of leader took.
type FailoverDurations struct {
	// fencing is the time from detectedTime to fencedTime.
	// +optional
	Fencing *metav1.Duration `json:"fencing,omitempty"`
	// promoting is the time from fencedTime to promotedTime.
	// +optional
	Promoting *metav1.Duration `json:"promoting,omitempty"`
	// opening is the time from promotedTime to writableTime.
	// +optional
	Opening *metav1.Duration `json:"opening,omitempty"`
	// total is the time from detectedTime to writableTime.
	// +optional
	Total *metav1.Duration `json:"total,omitempty"`
}

// ComparedPosition is what one member brought into an election.
type ComparedPosition struct {
	// member that was asked.
	// +required
	Member string `json:"member"`
	// fenced means that the member promised the new epoch.
	// +optional
	Fenced bool `json:"fenced"`
	// voter means that the member's acknowledgements counted in the old leadership.
	// +optional
	Voter bool `json:"voter,omitempty"`
	// chosen means that the member was elected.
	// +optional
	Chosen bool `json:"chosen,omitempty"`
	// epoch of the member's newest entry.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`
	// position of the member's newest entry.
	// +optional
	Position int64 `json:"position,omitempty"`
	// note says, in a few words, why the member could not be chosen.
	// +optional
	Note string `json:"note,omitempty"`
}

// FailoverRequestStatus is the outcome of a request that was made with the annotation replicatedstore.io/failover.
type FailoverRequestStatus struct {
	// target is who was asked for: a member, or "any".
	// +required
	Target string `json:"target"`
	// seenTime is when the operator took up the request.
	// +optional
	SeenTime *metav1.MicroTime `json:"seenTime,omitempty"`
	// finishedTime is when the outcome was known.
	// +optional
	FinishedTime *metav1.MicroTime `json:"finishedTime,omitempty"`
	// result so far.
	// +required
	Result FailoverResult `json:"result"`
	// epoch of the leadership that the request led to; absent if the request was not begun.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`
	// message is one sentence about the outcome, for people.
	// +optional
	Message string `json:"message,omitempty"`
}

// FailoverCounters count changes of leader since the store was created.
type FailoverCounters struct {
	// failovers is the number of failovers that succeeded.
	// +optional
	Failovers int64 `json:"failovers,omitempty"`
	// handovers is the number of planned handovers that succeeded.
	// +optional
	Handovers int64 `json:"handovers,omitempty"`
	// failed is the number of changes of leader, of any kind, that failed.
	// +optional
	Failed int64 `json:"failed,omitempty"`
	// lossy is the number of changes of leader that lost acknowledged writes, or may have.
	// +optional
	Lossy int64 `json:"lossy,omitempty"`
}
