package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FailoverKind tells a lost leader from a planned change.
//
// +kubebuilder:validation:Enum=Bootstrap;Failover;Handover;Wake
type FailoverKind string

const (
	// KindBootstrap made the first leader.
	KindBootstrap FailoverKind = "Bootstrap"
	// KindFailover replaced a leader that was lost.
	KindFailover FailoverKind = "Failover"
	// KindHandover replaced a leader that lived, with nothing lost.
	KindHandover FailoverKind = "Handover"
	// KindWake brought a store back that hibernated.
	KindWake FailoverKind = "Wake"
)

// FailoverResult is how a change of leader ended.
//
// +kubebuilder:validation:Enum=Running;Succeeded;Blocked;Failed;Refused
type FailoverResult string

const (
	// ResultRunning: not finished.
	ResultRunning FailoverResult = "Running"
	// ResultSucceeded: the new leader acknowledges writes.
	ResultSucceeded FailoverResult = "Succeeded"
	// ResultBlocked: not finished, and waiting for the gate that the message names.
	ResultBlocked FailoverResult = "Blocked"
	// ResultFailed: given up, with the store led as before (a handover) or by a later attempt.
	ResultFailed FailoverResult = "Failed"
	// ResultRefused: a request that was not begun; the message says why.
	ResultRefused FailoverResult = "Refused"
)

// Finished tells whether the result is final.
func (r FailoverResult) Finished() bool {
	return r == ResultSucceeded || r == ResultFailed || r == ResultRefused
}

// Values of FailoverReport.WritesLost that are no number.
const (
	// LostNone: every acknowledged write is proven to be held by the new leader.
	LostNone = "none"
	// LostUnknown: the old leader may have acknowledged writes that nobody else saw.
	LostUnknown = "unknown"
)

// FailoverReport says what a change of leader did and what it cost. Times are the operator's clock.
type FailoverReport struct {
	// kind of the change.
	// +required
	Kind FailoverKind `json:"kind"`
	// reason in one CamelCase word, e.g. LeaseExpired, LeaderSilent, Requested.
	// +optional
	Reason string `json:"reason,omitempty"`
	// result so far.
	// +required
	Result FailoverResult `json:"result"`
	// message is one sentence.
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
	// epoch is that of the new leadership.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`
	// detectedTime: the operator decided that the leader is lost (or took up the request).
	// +optional
	DetectedTime *metav1.MicroTime `json:"detectedTime,omitempty"`
	// fencedTime: enough members had promised the new epoch.
	// +optional
	FencedTime *metav1.MicroTime `json:"fencedTime,omitempty"`
	// promotedTime: the new leader was recorded and told.
	// +optional
	PromotedTime *metav1.MicroTime `json:"promotedTime,omitempty"`
	// writableTime: the new leader acknowledges writes.
	// +optional
	WritableTime *metav1.MicroTime `json:"writableTime,omitempty"`
	// durations between those times.
	// +optional
	Durations FailoverDurations `json:"durations,omitzero"`
	// positions that were compared to choose the new leader.
	// +optional
	// +listType=map
	// +listMapKey=member
	Positions []ComparedPosition `json:"positions,omitempty"`
	// writesLost: acknowledged writes that the new leader does not hold: "none", by how many the old leader was ahead when it was
	// last heard, or "unknown".
	// +optional
	// +kubebuilder:validation:Pattern=`^(none|unknown|[1-9][0-9]*)$`
	WritesLost string `json:"writesLost,omitempty"`
}

// FailoverDurations are the lengths of a failover's steps.
type FailoverDurations struct {
	// fencing: from detected to fenced.
	// +optional
	Fencing *metav1.Duration `json:"fencing,omitempty"`
	// promoting: from fenced to promoted.
	// +optional
	Promoting *metav1.Duration `json:"promoting,omitempty"`
	// opening: from promoted to writable.
	// +optional
	Opening *metav1.Duration `json:"opening,omitempty"`
	// total: from detected to writable.
	// +optional
	Total *metav1.Duration `json:"total,omitempty"`
}

// ComparedPosition is what one member brought to an election.
type ComparedPosition struct {
	// member that was asked.
	// +required
	Member string `json:"member"`
	// fenced: the member promised the new epoch.
	// +optional
	Fenced bool `json:"fenced"`
	// voter: its acknowledgements counted in the old leadership.
	// +optional
	Voter bool `json:"voter,omitempty"`
	// chosen: it became the leader.
	// +optional
	Chosen bool `json:"chosen,omitempty"`
	// epoch of its newest entry.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`
	// position of its newest entry.
	// +optional
	Position int64 `json:"position,omitempty"`
	// note says why it could not be chosen, in a few words.
	// +optional
	Note string `json:"note,omitempty"`
}

// FailoverRequestStatus is the outcome of a request made by annotation.
type FailoverRequestStatus struct {
	// target as it was asked for: a member, or "any".
	// +required
	Target string `json:"target"`
	// seenTime: the operator took up the request.
	// +optional
	SeenTime *metav1.MicroTime `json:"seenTime,omitempty"`
	// finishedTime: the outcome was known.
	// +optional
	FinishedTime *metav1.MicroTime `json:"finishedTime,omitempty"`
	// result so far.
	// +required
	Result FailoverResult `json:"result"`
	// epoch of the leadership that came of it.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`
	// message is one sentence.
	// +optional
	Message string `json:"message,omitempty"`
}

// FailoverCounters count changes of leader since the store was created.
type FailoverCounters struct {
	// failovers that succeeded.
	// +optional
	Failovers int64 `json:"failovers,omitempty"`
	// handovers that succeeded.
	// +optional
	Handovers int64 `json:"handovers,omitempty"`
	// failed changes of either kind.
	// +optional
	Failed int64 `json:"failed,omitempty"`
	// lossy failovers: those that lost writes, or may have.
	// +optional
	Lossy int64 `json:"lossy,omitempty"`
}
