package controllers

import (
	"context"
	"encoding/json"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// recording is a cluster that also stores the record, and notes in which order records and statuses are written, and with
// which k.
type recording struct {
	*cluster
	order []string
	fails error // the result of writing a status
}

func (c *recording) Patch(_ context.Context, o client.Object, patch client.Patch, _ ...client.PatchOption) error {
	lease, ok := o.(*coordinationv1.Lease)
	if !ok {
		return nil
	}
	b, err := patch.Data(o)
	if err != nil {
		return err
	}
	var p struct {
		Metadata struct{ Annotations map[string]string }
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	l := c.lease
	l.Annotations[v1alpha1.AnnotationRecord] = p.Metadata.Annotations[v1alpha1.AnnotationRecord]
	l.ResourceVersion += "1"
	l.DeepCopyInto(lease)
	r, err := decide.DecodeRecord(l.Annotations[v1alpha1.AnnotationRecord])
	if err == nil && len(r.Rules) > 0 {
		c.order = append(c.order, fmt.Sprintf("record k=%d", r.Rules[0].K))
	}
	return err
}

func (c *recording) Status() client.SubResourceWriter {
	return recordingStatus{clusterStatus{c: c.cluster}, c}
}

type recordingStatus struct {
	clusterStatus
	c *recording
}

func (s recordingStatus) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
	if s.c.fails != nil {
		return s.c.fails
	}
	s.c.order = append(s.c.order, fmt.Sprintf("status k=%d", o.(*v1alpha1.ReplicatedStore).Status.Replication.Number))
	return s.clusterStatus.Patch(ctx, o, p, opts...)
}
