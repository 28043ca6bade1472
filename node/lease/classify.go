package lease

import (
	"encoding/json"
	"errors"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/replicatedstore/replicatedstore/replication"
)

// RecordAnnotation is the annotation of the Lease in which the operator keeps the authority record.
const RecordAnnotation = "replicatedstore.io/record"

// Answer classifies a response of the API server for the leader of one epoch.
type Answer uint8

const (
	// Ours: the record names this epoch, and the Lease names this holder.
	Ours Answer = iota + 1
	// Deposed: the record names a higher epoch, whoever holds the Lease.
	Deposed
	// OtherHolder: the record names this epoch, but the Lease another holder. The operator never writes that.
	OtherHolder
	// Unrecorded: the record is missing, unreadable or older than this epoch, because it was lost or restored from an
	// older copy. The operator will continue from the members' promises; until then the Lease proves nothing.
	Unrecorded
	// Missing: the Lease does not exist.
	Missing
	// Conflict: the object has changed since it was read and must be read again.
	Conflict
	// Denied: the API server answers but does not let this member read or renew the Lease.
	Denied
	// Unreachable: there was no answer, or one that says nothing about the Lease.
	Unreachable
	// DiskFailed: nothing was asked of the API server, because the disk probe failed.
	DiskFailed
)

var answerNames = [...]string{
	Ours: "Ours", Deposed: "Deposed", OtherHolder: "OtherHolder", Unrecorded: "Unrecorded", Missing: "Missing",
	Conflict: "Conflict", Denied: "Denied", Unreachable: "Unreachable", DiskFailed: "DiskFailed",
}

func (a Answer) String() string {
	if int(a) < len(answerNames) && answerNames[a] != "" {
		return answerNames[a]
	}
	return fmt.Sprintf("Answer(%d)", uint8(a))
}

// verdict is an Answer and what it is based on.
type verdict struct {
	answer Answer
	epoch  replication.Epoch // in the record; 0 when there is none
	err    error             // nil exactly when answer is Ours
}

// classify returns what a response of the API server, a Lease or an error, means to self as the leader of epoch.
func classify(self string, epoch replication.Epoch, l *coordinationv1.Lease, err error) verdict {
	if err != nil {
		return verdict{answer: classifyError(err), err: err}
	}
	recorded, err := recordedEpoch(l)
	switch {
	case err != nil:
		return verdict{answer: Unrecorded, err: err}
	case recorded > epoch:
		return verdict{answer: Deposed, epoch: recorded, err: fmt.Errorf("the record names epoch %d, this is epoch %d", recorded, epoch)}
	case recorded < epoch:
		return verdict{answer: Unrecorded, epoch: recorded, err: fmt.Errorf("the record is of epoch %d, older than %d", recorded, epoch)}
	case holder(l) != self:
		return verdict{answer: OtherHolder, epoch: recorded, err: fmt.Errorf("the Lease is held by %q", holder(l))}
	default:
		return verdict{answer: Ours, epoch: recorded}
	}
}

func classifyError(err error) Answer {
	switch {
	case apierrors.IsConflict(err):
		return Conflict
	case apierrors.IsNotFound(err):
		return Missing
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err),
		apierrors.IsMethodNotSupported(err):
		return Denied
	default: // refused, timed out, overloaded, 5xx: the request may even have been carried out
		return Unreachable
	}
}

func holder(l *coordinationv1.Lease) string {
	if l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

// recordedEpoch reads the one field of the record that matters to the leader. Other fields may come and go.
func recordedEpoch(l *coordinationv1.Lease) (replication.Epoch, error) {
	text, ok := l.Annotations[RecordAnnotation]
	if !ok {
		return 0, errors.New("the Lease carries no record")
	}
	var record struct {
		Epoch replication.Epoch `json:"epoch"`
	}
	if err := json.Unmarshal([]byte(text), &record); err != nil {
		return 0, fmt.Errorf("read the Lease's record: %w", err)
	}
	return record.Epoch, nil
}
