package controllers

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

func statusOf(is, was corev1.ContainerState) *corev1.Pod {
	return &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: is, LastTerminationState: was}}}}
}

func ended(code int32, reason, log string) corev1.ContainerState {
	at := metav1.NewTime(time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC))
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: log, FinishedAt: at}}
}

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// withInit returns the pod with an init container, as a service mesh adds one.
func withInit(pod *corev1.Pod, is, was corev1.ContainerState) *corev1.Pod {
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "mesh-init", State: is, LastTerminationState: was}}
	return pod
}

// TestWhyAContainerEnded checks that what the node said as it ended is reported, also between two attempts.
func TestWhyAContainerEnded(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	refused := ended(1, "Error", "{\"msg\":\"opening\"}\nnode: open log: written by version 9: start that version.\n\n")
	for name, tc := range map[string]struct {
		pod            *corev1.Pod
		trouble, ended string
		creating       bool
	}{
		"it runs":       {statusOf(running, corev1.ContainerState{}), "", "", false},
		"it is made":    {statusOf(waiting("ContainerCreating", ""), corev1.ContainerState{}), "", "", true},
		"it backs off":  {statusOf(waiting("CrashLoopBackOff", "back-off 5m0s"), refused), "CrashLoopBackOff: back-off 5m0s; it ended at 2026-03-14T15:09:26Z with exit code 1: node: open log: written by version 9: start that version", "ended at 2026-03-14T15:09:26Z with exit code 1: node: open log: written by version 9: start that version", false},
		"it runs again": {statusOf(running, ended(137, "OOMKilled", "")), "", "ended at 2026-03-14T15:09:26Z with OOMKilled, exit code 137", false},
		"it has ended":  {statusOf(ended(2, "Error", "{}\npanic: no\n\ngoroutine 1 [running]:\nmain.main()"), running), "", "ended at 2026-03-14T15:09:26Z with exit code 2: panic: no", false},
		"it stopped":    {statusOf(running, ended(0, "Completed", "{\"msg\":\"bye\"}")), "", "ended at 2026-03-14T15:09:26Z with exit code 0", false},
		"no image":      {statusOf(waiting("ErrImagePull", "no such image"), corev1.ContainerState{}), "ErrImagePull: no such image", "", false},
		"no image of an init container": {withInit(statusOf(waiting("PodInitializing", ""), corev1.ContainerState{}), waiting("ImagePullBackOff", "no such image"), corev1.ContainerState{}),
			"init container mesh-init: ImagePullBackOff: no such image", "", true},
		"an init container backs off": {withInit(statusOf(waiting("PodInitializing", ""), corev1.ContainerState{}), waiting("CrashLoopBackOff", "back-off 5m0s"), ended(1, "Error", "no route")),
			"init container mesh-init: CrashLoopBackOff: back-off 5m0s; it ended at 2026-03-14T15:09:26Z with exit code 1: no route", "", true},
		"an init container runs":   {withInit(statusOf(waiting("PodInitializing", ""), corev1.ContainerState{}), running, corev1.ContainerState{}), "", "", true},
		"init containers are done": {withInit(statusOf(running, corev1.ContainerState{}), ended(0, "Completed", ""), corev1.ContainerState{}), "", "", false},
		"a sidecar backs off":      {withInit(statusOf(running, corev1.ContainerState{}), waiting("CrashLoopBackOff", "back-off 5m0s"), refused), "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			creating, ended := containerOf(tc.pod)
			if trouble := troubleOf(tc.pod); trouble != tc.trouble || ended != tc.ended || creating != tc.creating {
				t.Errorf("%q, %q, creating %v", trouble, ended, creating)
			}
		})
	}
	if got := lastWords(strings.Repeat("ä", 500)); len(got) > 304 || !strings.HasSuffix(got, "ä ...") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

// nodes is a cluster with one node, read as from the cache.
type nodes struct {
	client.Client
	node *corev1.Node
}

func (c nodes) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if key.Name != c.node.Name {
		return apierrors.NewNotFound(corev1.Resource("nodes"), key.Name)
	}
	slim, err := slimNode(c.node)
	slim.(*corev1.Node).DeepCopyInto(into.(*corev1.Node))
	return err
}

// TestWhatIsWrongWithANodeIsSeen checks that the cache keeps the node condition that matters.
func TestWhatIsWrongWithANodeIsSeen(t *testing.T) {
	for name, tc := range map[string]struct {
		status corev1.ConditionStatus
		on     string
		want   string
	}{
		"ready":         {corev1.ConditionTrue, "worker-2", ""},
		"silent":        {corev1.ConditionUnknown, "worker-2", "its node worker-2 is not ready (NodeStatusUnknown: Kubelet stopped posting node status)"},
		"gone":          {corev1.ConditionTrue, "worker-3", "its node worker-3 is gone"},
		"not scheduled": {corev1.ConditionTrue, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-2"}}
			node.Status.Conditions = []corev1.NodeCondition{
				{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse},
				{Type: corev1.NodeReady, Status: tc.status, Reason: "NodeStatusUnknown", Message: "Kubelet stopped posting node status."},
			}
			p := &pass{Reconciler: &Reconciler{Client: nodes{node: node}}}
			var out decide.Pod
			p.place(t.Context(), &corev1.Pod{Spec: corev1.PodSpec{NodeName: tc.on}}, &out)
			if out.NodeTrouble != tc.want {
				t.Errorf("%q", out.NodeTrouble)
			}
		})
	}
}
