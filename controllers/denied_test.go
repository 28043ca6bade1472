package controllers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// denying is an API server that refuses to delete anything and to write Leases, as a policy makes it do. It does neither before denied is
// set.
type denying struct {
	*recording
	denied error
}

func (c *denying) Delete(context.Context, client.Object, ...client.DeleteOption) error {
	return c.denied
}

func (c *denying) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	if _, ok := o.(*coordinationv1.Lease); ok {
		return c.denied
	}
	return apierrors.NewAlreadyExists(schema.GroupResource{Resource: "pods"}, o.GetName()) // a dry run
}

func (c *denying) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.PatchOption) error {
	if _, ok := o.(*coordinationv1.Lease); ok && c.denied != nil {
		return c.denied
	}
	return c.recording.Patch(ctx, o, p, opts...)
}

// denied runs passes over a whole store, and more of them after change, from which on the API server refuses things.
func denied(t *testing.T, change func(*scene, *cluster)) (*scene, *cluster) {
	s := newScene(t)
	c := s.whole()
	d := &denying{recording: &recording{cluster: c}}
	s.Client, s.Reader = d, d
	passes := func(n int) {
		for range n {
			s.memory.published = time.Time{}
			_, _ = s.pass(t)
		}
	}
	passes(3)
	c.made = nil
	d.denied = apierrors.NewForbidden(schema.GroupResource{Resource: "objects"}, "orders", errors.New("denied by policy"))
	change(s, c)
	passes(20)
	return s, c
}

// TestARefusedActionIsTold checks that status and an event say why an action is not done, and that claims grow although pods cannot be
// deleted.
func TestARefusedActionIsTold(t *testing.T) {
	grow := func(c *cluster) {
		c.store.Spec.Storage.Size = resource.MustParse("2Gi")
		c.store.Generation++
	}
	for name, tc := range map[string]struct {
		change func(*scene, *cluster)
		tells  string // the condition
		grows  bool
	}{
		"a pod cannot be deleted": {func(_ *scene, c *cluster) {
			c.store.Annotations = map[string]string{v1alpha1.AnnotationRestart: "now"}
			grow(c)
		}, v1alpha1.ConditionProgressing, true},
		"the record cannot be written in a failover": {func(s *scene, _ *cluster) {
			st := s.members.is["orders-1"]
			st.Role, st.Writable, st.Leader, st.Epoch, st.Rules, st.Followers = wire.RoleWaiting, false, "", 0, nil, nil
			s.members.is["orders-1"] = st
		}, v1alpha1.ConditionFailoverBlocked, false},
		"a new store has no Lease": {func(s *scene, _ *cluster) {
			s.cache.lease, s.server.lease, s.cache.route = nil, nil, nil
			for n, st := range s.members.is {
				s.members.is[n] = wire.Status{Store: st.Store, StoreUID: st.StoreUID, Member: st.Member, Incarnation: st.Incarnation, Role: wire.RoleWaiting, Empty: true}
			}
		}, v1alpha1.ConditionFailoverBlocked, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := denied(t, tc.change)
			if j := meta.FindStatusCondition(c.store.Status.Conditions, tc.tells); j.Status != "True" || !strings.Contains(j.Message, "denied by policy") {
				t.Errorf("%s is %s %s: %s", j.Type, j.Status, j.Reason, j.Message)
			}
			if !warned(s, "denied by policy") {
				t.Error("no event tells of it")
			}
			if grows := strings.Contains(strings.Join(c.made, " "), "PersistentVolumeClaim/"); grows != tc.grows {
				t.Errorf("the claims grow: %v", grows)
			}
		})
	}
}

func warned(s *scene, words string) bool {
	for {
		select {
		case e := <-s.Recorder.(*events.FakeRecorder).Events:
			if strings.HasPrefix(e, "Warning ApplyFailed") && strings.Contains(e, words) {
				return true
			}
		default:
			return false
		}
	}
}
