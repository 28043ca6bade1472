package controllers

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// asking is a cluster in which a person changes the request for another leader while a pass runs.
type asking struct {
	*cluster
	report, before, after string // requested while another status is written, before the one with the outcome, and after it
	taken                 int    // requests removed
}

func (c *asking) ask(target string) {
	if target != "" {
		c.store.Annotations = map[string]string{v1alpha1.AnnotationFailover: target}
		c.store.ResourceVersion += "+"
	}
}

func (c *asking) Status() client.SubResourceWriter {
	return askingStatus{clusterStatus{c: c.cluster}, c}
}

type askingStatus struct {
	clusterStatus
	c *asking
}

// Patch answers with the store as it then is, as the API server does.
func (s askingStatus) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
	first, then := &s.c.report, new(string)
	if o.(*v1alpha1.ReplicatedStore).Status.FailoverRequest != nil {
		first, then = &s.c.before, &s.c.after
	}
	s.c.ask(*first)
	if err := s.clusterStatus.Patch(ctx, o, p, opts...); err != nil {
		return err
	}
	s.c.store.DeepCopyInto(o.(*v1alpha1.ReplicatedStore))
	s.c.ask(*then)
	*first, *then = "", ""
	return nil
}

func (c *asking) Patch(_ context.Context, o client.Object, _ client.Patch, _ ...client.PatchOption) error {
	if o.GetResourceVersion() != c.store.ResourceVersion {
		return apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("replicatedstores").GroupResource(), o.GetName(), errors.New("changed"))
	}
	c.taken++
	c.store.Annotations = o.GetAnnotations()
	c.store.DeepCopyInto(o.(*v1alpha1.ReplicatedStore))
	return nil
}

// A request that arrived while the previous one was being answered is answered too.
func TestANewerRequestIsAnswered(t *testing.T) {
	for name, meanwhile := range map[string]asking{
		"none": {}, "with the report before": {report: "orders-8"}, "before the outcome": {before: "orders-8"}, "after the outcome": {after: "orders-8"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			c := meanwhile
			c.cluster = s.whole()
			s.Client, s.Reader = &c, &c
			s.store.ResourceVersion = "1"
			c.ask("orders-7") // there is no such member
			last := "orders-7"
			if meanwhile.report+meanwhile.before+meanwhile.after != "" {
				last = "orders-8"
			}
			for range 2 {
				if _, err := s.pass(t); err != nil {
					t.Fatal(err)
				}
			}
			r := s.store.Status.FailoverRequest
			if r == nil || r.Target != last || r.Result != v1alpha1.ResultRefused || c.store.Annotations[v1alpha1.AnnotationFailover] != "" || c.taken != 1 {
				t.Errorf("answered: %+v; asked: %v; %d taken away", r, c.store.Annotations, c.taken)
			}
		})
	}
}
