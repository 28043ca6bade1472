package controllers

import (
	"context"
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// lagging is a cluster whose cache shows a pod that has been replaced.
type lagging struct {
	*cluster
	tried int
}

func (c *lagging) refuses() error {
	c.tried++
	return apierrors.NewConflict(pods, "orders-3", errors.New("the UID in the precondition does not match"))
}

func (c *lagging) Delete(context.Context, client.Object, ...client.DeleteOption) error {
	return c.refuses()
}

func (c *lagging) Patch(context.Context, client.Object, client.Patch, ...client.PatchOption) error {
	return c.refuses()
}

// A write to a pod that has been replaced is not repeated until the cache has caught up; instead, the next pass reads
// uncached.
func TestAPodThatWasReplacedIsReadUncached(t *testing.T) {
	for name, change := range map[string]func(*corev1.Pod){
		"to be deleted":  func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed },
		"to be labelled": func(p *corev1.Pod) { p.Labels = map[string]string{v1alpha1.LabelRole: ""} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.server.pods = slices.Clone(s.cache.pods)
			s.server.pods[2].UID = "another"
			c := &lagging{cluster: s.whole()}
			s.server.claims = s.cache.claims
			s.Client, s.Reader = c, &cluster{objects: s.server, store: s.store}
			change(&s.cache.pods[2])
			for n := range 2 {
				if r, err := s.pass(t); err != nil || r.RequeueAfter < replacedPause || c.tried != 1 {
					t.Fatalf("pass %d: tried %d times, again after %v: %v", n+1, c.tried, r.RequeueAfter, err)
				}
			}
			if s.server.lists == 0 {
				t.Error("the second pass went by the cache")
			}
		})
	}
}
