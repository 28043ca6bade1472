package plugin

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// far is a client of an API server that answers slowly, as over a VPN.
type far struct{ client.Client }

func (far) Get(ctx context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	select {
	case <-time.After(400 * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	s := into.(*api.ReplicatedStore)
	s.Namespace, s.Name = key.Namespace, key.Name
	s.Status.Phase = api.PhaseBlocked
	s.Status.Conditions = []metav1.Condition{{Type: api.ConditionFailoverBlocked, Status: "True", Reason: api.ReasonFenceQuorumMissing, Message: "orders-3 does not answer."}}
	return nil
}

func (far) Patch(context.Context, client.Object, client.Patch, ...client.PatchOption) error {
	return nil
}

// TestWhatBlocksIsToldWhenTheTimeIsOver checks that a timeout reports the gate that blocks the request, even if it interrupts a read of the
// store, and reports that the store cannot be read if it never was.
func TestWhatBlocksIsToldWhenTheTimeIsOver(t *testing.T) { synctest.Test(t, testWhatBlocks) }

func testWhatBlocks(t *testing.T) {
	var out bytes.Buffer
	s := session{client: far{}, namespace: "shop", now: time.Now, out: &out}
	err := s.failover(t.Context(), "orders", request{to: api.FailoverToAny, timeout: time.Second, wait: true})
	if err == nil || !strings.Contains(err.Error(), "FenceQuorumMissing") {
		t.Errorf("told %q, want what blocks it", err)
	}
	err = s.failover(t.Context(), "orders", request{to: api.FailoverToAny, timeout: 100 * time.Millisecond, wait: true})
	if err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("told %q of a store that was not read since", err)
	}
}
