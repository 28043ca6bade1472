package lease

import (
	"context"
	"errors"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/replicatedstore/replicatedstore/replication"
)

func TestClassify(t *testing.T) {
	leases := schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}
	with := func(holder, record string) *coordinationv1.Lease {
		l := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder}}
		if record != "" {
			l.Annotations = map[string]string{RecordAnnotation: record}
		}
		return l
	}
	tests := map[string]struct {
		lease *coordinationv1.Lease
		err   error
		want  Answer
		epoch replication.Epoch
	}{
		"ours":                              {lease: with("a", `{"epoch":7,"phase":"Stable"}`), want: Ours, epoch: 7},
		"ours while being promoted":         {lease: with("a", `{"epoch":7,"phase":"Promoting"}`), want: Ours, epoch: 7},
		"higher epoch, other holder":        {lease: with("b", `{"epoch":8}`), want: Deposed, epoch: 8},
		"higher epoch, we still hold":       {lease: with("a", `{"epoch":8,"phase":"Fencing"}`), want: Deposed, epoch: 8},
		"same epoch, other holder":          {lease: with("b", `{"epoch":7}`), want: OtherHolder, epoch: 7},
		"same epoch, nobody holds":          {lease: with("", `{"epoch":7}`), want: OtherHolder, epoch: 7},
		"older record":                      {lease: with("a", `{"epoch":6}`), want: Unrecorded, epoch: 6},
		"no record":                         {lease: with("a", ""), want: Unrecorded},
		"record that is no JSON":            {lease: with("a", "epoch 7"), want: Unrecorded},
		"record with an epoch that is none": {lease: with("a", `{"epoch":-7}`), want: Unrecorded},
		"no holder field":                   {lease: &coordinationv1.Lease{ObjectMeta: with("", `{"epoch":7}`).ObjectMeta}, want: OtherHolder, epoch: 7},

		"conflict":       {err: apierrors.NewConflict(leases, "orders", nil), want: Conflict},
		"deleted":        {err: apierrors.NewNotFound(leases, "orders"), want: Missing},
		"forbidden":      {err: apierrors.NewForbidden(leases, "orders", nil), want: Denied},
		"unauthorized":   {err: apierrors.NewUnauthorized("token expired"), want: Denied},
		"bad request":    {err: apierrors.NewBadRequest("no"), want: Denied},
		"timed out":      {err: context.DeadlineExceeded, want: Unreachable},
		"refused":        {err: errors.New("dial tcp: connection refused"), want: Unreachable},
		"server timeout": {err: apierrors.NewServerTimeout(leases, "patch", 1), want: Unreachable},
		"etcd is away":   {err: apierrors.NewInternalError(errors.New("etcdserver: no leader")), want: Unreachable},
		"overloaded":     {err: apierrors.NewTooManyRequests("slow down", 1), want: Unreachable},
		"unknown status": {err: &apierrors.StatusError{ErrStatus: metav1.Status{Code: 599}}, want: Unreachable},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := classify("a", 7, tc.lease, tc.err)
			if got.answer != tc.want || got.epoch != tc.epoch {
				t.Fatalf("classified as %v of epoch %d, want %v of epoch %d", got.answer, got.epoch, tc.want, tc.epoch)
			}
			if (got.err == nil) != (tc.want == Ours) {
				t.Fatalf("%v with error %v", got.answer, got.err)
			}
		})
	}
}

func TestAnswerNames(t *testing.T) {
	for a := Ours; a <= DiskFailed; a++ {
		if a.String() == "" || a.String()[0] == 'A' {
			t.Errorf("answer %d has no name", a)
		}
	}
	if Answer(99).String() != "Answer(99)" {
		t.Error("an unknown answer must show")
	}
}
