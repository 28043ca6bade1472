package controllers

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// deleted is a cluster in which the store is gone already.
type deleted struct{ client.Client }

func (deleted) Status() client.SubResourceWriter { return deletedStatus{} }

type deletedStatus struct{ client.SubResourceWriter }

func (deletedStatus) Patch(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: "replicatedstores"}, "orders")
}

// TestStoreDeletedMeanwhileIsNoError: there is nowhere to publish to any more, and nothing to repeat.
func TestStoreDeletedMeanwhileIsNoError(t *testing.T) {
	p := &pass{
		Reconciler: &Reconciler{Client: deleted{}}, memory: newMemory(),
		store: &v1alpha1.ReplicatedStore{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders"}},
	}
	plan := decide.Plan{State: decide.Deleting}
	plan.Status.Leader = "orders-1"
	if err := p.publish(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
}
