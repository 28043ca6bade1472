package controllers

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// trying is a cluster that answers trials of pods, and records whose pods are deleted.
type trying struct {
	*cluster
	says    error
	running *corev1.Pod // the pod read from the API server itself; nil: none
	tried   []*corev1.Pod
	deleted []string
}

func (c *trying) Create(_ context.Context, o client.Object, opts ...client.CreateOption) error {
	pod, ok := o.(*corev1.Pod)
	if options := (&client.CreateOptions{}).ApplyOptions(opts); !ok || !slices.Equal(options.DryRun, []string{metav1.DryRunAll}) {
		return errors.New("that would be stored")
	}
	c.tried = append(c.tried, pod)
	return c.says
}

func (c *trying) Get(ctx context.Context, key client.ObjectKey, into client.Object, o ...client.GetOption) error {
	if pod, ok := into.(*corev1.Pod); ok && c.running != nil {
		c.running.DeepCopyInto(pod)
		return nil
	}
	return c.cluster.Get(ctx, key, into, o...)
}

func (c *trying) Delete(_ context.Context, o client.Object, _ ...client.DeleteOption) error {
	c.deleted = append(c.deleted, o.GetName())
	return nil
}

var (
	pods     = schema.GroupResource{Resource: "pods"}
	taken    = apierrors.NewAlreadyExists(pods, "orders-3")
	noClass  = apierrors.NewForbidden(pods, "orders-3", errors.New("no PriorityClass with name nowhere was found"))
	isDown   = apierrors.NewInternalError(errors.New(`failed calling webhook "pods.example.org": connection refused`))
	exceeded = apierrors.NewForbidden(pods, "orders-3", errors.New("exceeded quota: few, requested: pods=1, used: pods=3, limited: pods=3"))
)

func newTrying(t *testing.T, says error) (*scene, *trying) {
	t.Helper()
	s := newScene(t)
	c := &trying{cluster: s.whole(), says: says}
	s.Client, s.Reader = c, c
	return s, c
}

// A pod is deleted for another template only once the API server has said that it accepts the next one.
func TestAPodIsTriedBeforeItsMemberIsRestarted(t *testing.T) {
	for name, tc := range map[string]struct {
		says    error
		deleted bool
		message string
	}{
		"the name is taken, and nothing else is wrong": {taken, true, ""},
		"the pod went meanwhile":                       {nil, true, ""},
		"the quota is used up, by the pod that goes":   {exceeded, true, ""},
		"refused":           {noClass, false, "the API server rejects the new pods: pods \"orders-3\" is forbidden: no PriorityClass with name nowhere was found. No member"},
		"a webhook is down": {isDown, false, "the API server cannot say whether it accepts the new pods: Internal error occurred: failed calling webhook"},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newTrying(t, tc.says)
			s.store.Spec.Scheduling.PriorityClassName = "nowhere"
			for range 3 {
				if _, err := s.pass(t); err != nil {
					t.Fatal(err)
				}
			}
			if len(c.tried) != 1 || c.tried[0].Name != "orders-3" || c.tried[0].Spec.PriorityClassName != "nowhere" || len(c.tried[0].Spec.Containers) != 1 {
				t.Fatalf("tried: %+v", c.tried)
			}
			if slices.Contains(c.deleted, "orders-3") != tc.deleted {
				t.Errorf("deleted: %v", c.deleted)
			}
			if observed := c.store.Status.ObservedGeneration == c.store.Generation; observed != tc.deleted {
				t.Errorf("the spec is observed: %t", observed)
			}
			p := meta.FindStatusCondition(c.store.Status.Conditions, v1alpha1.ConditionProgressing)
			if !strings.Contains(p.Message, tc.message) || (p.Reason == v1alpha1.ReasonApplyFailed) == tc.deleted {
				t.Errorf("Progressing is %s: %s", p.Reason, p.Message)
			}
			if told := s.told(); strings.Contains(told, "Warning ApplyFailed") == tc.deleted {
				t.Errorf("events: %s", told)
			}
		})
	}
}

// told returns the events so far.
func (s *scene) told() string {
	var out []string
	for recorded := s.Recorder.(*events.FakeRecorder).Events; len(recorded) > 0; {
		out = append(out, <-recorded)
	}
	return strings.Join(out, "\n")
}

// The answer about one pod does not apply to another, whatever part of the template changed.
func TestATrialIsOfOneTemplate(t *testing.T) {
	for name, change := range map[string]func(*scene){
		"the spec":             func(s *scene) { s.store.Spec.Scheduling.PriorityClassName = "somewhere" },
		"a label":              func(s *scene) { s.store.Spec.PodMetadata.Labels = map[string]v1alpha1.LabelValue{"team": "payments"} },
		"a restart":            func(s *scene) { s.store.Annotations = map[string]string{v1alpha1.AnnotationRestart: "monday"} },
		"the operator's image": func(s *scene) { s.Options.Image = "example/node:v2" },
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newTrying(t, noClass)
			s.store.Spec.Scheduling.PriorityClassName = "nowhere"
			if _, err := s.pass(t); err != nil || len(c.tried) != 1 {
				t.Fatalf("tried %d: %v", len(c.tried), err)
			}
			change(s)
			c.says = taken
			if _, err := s.pass(t); err != nil || len(c.tried) != 2 || !slices.Contains(c.deleted, "orders-3") {
				t.Fatalf("tried %d, deleted %v: %v", len(c.tried), c.deleted, err)
			}
		})
	}
}

// A pod is tried once what it refers to exists: without its ServiceAccount it is refused.
func TestAPodIsTriedAfterWhatItRefersTo(t *testing.T) {
	s, c := newTrying(t, taken)
	s.store.Spec.Scheduling.PriorityClassName = "nowhere"
	c.refuse = func(of child, _ runtime.ApplyConfiguration) error {
		if of.Kind == "ServiceAccount" && len(c.tried) > 0 {
			t.Error("the ServiceAccount is applied after the pod was tried")
		}
		return nil
	}
	if _, err := s.pass(t); err != nil || !slices.Contains(c.made, "ServiceAccount/orders-nodes") || len(c.tried) != 1 {
		t.Fatalf("made %v, tried %d pods: %v", c.made, len(c.tried), err)
	}
}

func TestVerdict(t *testing.T) {
	for name, tc := range map[string]struct {
		err     error
		refused string
		unclear bool
	}{
		"taken":                       {taken, "", false},
		"an exceeded quota":           {exceeded, "", false},
		"a quota that asks for more":  {apierrors.NewForbidden(pods, "a", errors.New("failed quota: few: must specify limits.memory")), "must specify limits.memory", false},
		"Pod Security":                {apierrors.NewForbidden(pods, "a", errors.New(`violates PodSecurity "restricted:latest"`)), "violates PodSecurity", false},
		"invalid":                     {apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "a", nil), `Pod "a" is invalid`, false},
		"a webhook refuses":           {&apierrors.StatusError{ErrStatus: metav1.Status{Code: 400, Message: `admission webhook "x" denied the request: no`}}, "denied the request: no", false},
		"a webhook nobody may try":    {apierrors.NewBadRequest(`admission webhook "x" does not support dry run`), "", false},
		"a webhook is down":           {isDown, "failed calling webhook", true},
		"too many requests":           {apierrors.NewTooManyRequests("later", 1), "later", true},
		"somebody changed the quota":  {apierrors.NewConflict(pods, "a", errors.New("the object has been modified")), "has been modified", true},
		"no answer":                   {context.DeadlineExceeded, "context deadline exceeded", true},
		"a sentence of its own":       {apierrors.NewBadRequest("It is not liked.\n"), "It is not liked", false},
		"more than an event can hold": {apierrors.NewBadRequest(strings.Repeat("ä", 2000)), "ä ...", false},
	} {
		refused, unclear := verdict(tc.err)
		if (refused == "") != (tc.refused == "") || !strings.Contains(refused, tc.refused) || unclear != tc.unclear || len(refused) > 700 || strings.HasSuffix(refused, ".\n") {
			t.Errorf("%s: %q, unclear %t", name, refused, unclear)
		}
	}
}
