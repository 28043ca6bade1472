//go:build failpoints

package controllers

import (
	"context"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// annotationFailpoint on a store names where the operator exits, once: "before" or "after", and a step.
const annotationFailpoint = "test.replicatedstore.io/failpoint"

// failpoint ends the process as a crash would, if the store asks for it here. It removes the annotation first, so that the
// next operator gets past this point.
func (p *pass) failpoint(ctx context.Context, when string, a decide.Action) {
	here := when + " " + stepName(a)
	if p.store.Annotations[annotationFailpoint] != here {
		return
	}
	once := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:null}}}`, annotationFailpoint)
	if err := p.Client.Patch(ctx, p.store.DeepCopy(), client.RawPatch(types.MergePatchType, once)); err != nil {
		log.FromContext(ctx).Error(err, "Skipping the failpoint: it could not be marked as done")
		return
	}
	log.FromContext(ctx).Info("The operator exits at a failpoint", keyAction, here)
	os.Exit(3)
}

func stepName(a decide.Action) string {
	switch a := a.(type) {
	case decide.WriteRecord:
		return "record " + string(a.Record.Phase)
	case decide.FenceMembers:
		return "fence"
	case decide.PromoteMember:
		return "promote"
	case decide.FollowLeader:
		return "follow"
	case decide.LabelPod:
		return "label " + a.Role
	default:
		return fmt.Sprintf("%T", a)
	}
}
