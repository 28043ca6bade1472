package stage

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	toldEvents = 20
	toldLines  = 15
)

// Diagnose writes what a person needs to see why the store is not as it should be: conditions, members, the last failover, pods,
// events, and the operator's last log lines. The store need not work.
func (s *Store) Diagnose(ctx context.Context, out io.Writer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	fmt.Fprintf(out, "\n--- store %s/%s\n", s.Namespace, s.Name)
	s.tellStatus(ctx, out)
	s.tellPods(ctx, out, s.Namespace)
	s.tellEvents(ctx, out)
	s.tellPods(ctx, out, SystemNamespace)
	s.tellLogs(ctx, out, SystemNamespace)
	s.tellLogs(ctx, out, s.Namespace)
	fmt.Fprintln(out, "---")
}

func (s *Store) tellStatus(ctx context.Context, out io.Writer) {
	rs, err := s.Get(ctx)
	if err != nil {
		fmt.Fprintln(out, "cannot be read:", err)
		return
	}
	st := rs.Status
	fmt.Fprintf(out, "phase %s, leader %s, epoch %d, %s ready, sync %s, lag %s\n",
		st.Phase, orNobody(st.Leader), st.Epoch, st.Summary.Members, st.Summary.Sync, st.Summary.Lag)
	for _, c := range st.Conditions {
		fmt.Fprintf(out, "  %-16s %-6s %-22s %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	for _, m := range st.Members {
		fmt.Fprintf(out, "  %-12s %-9s on %-6s ready=%-5v voter=%-5v %d/%d %s\n", m.Name, m.Role, m.Node, m.Ready, m.Voter, m.Epoch, m.Position, m.Problem)
	}
	if r := st.LastFailover; r != nil {
		fmt.Fprintf(out, "  last change of leader: %s %s %s, %s -> %s, epoch %d: %s\n", r.Kind, r.Reason, r.Result, orNobody(r.From), orNobody(r.To), r.Epoch, r.Message)
		for _, p := range r.Positions {
			fmt.Fprintf(out, "    %-12s fenced=%-5v voter=%-5v %d/%d %s\n", p.Member, p.Fenced, p.Voter, p.Epoch, p.Position, p.Note)
		}
	}
	if r := st.FailoverRequest; r != nil {
		fmt.Fprintf(out, "  request for %s: %s: %s\n", r.Target, r.Result, r.Message)
	}
}

func (s *Stage) tellPods(ctx context.Context, out io.Writer, namespace string) {
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
		fmt.Fprintln(out, "list pods:", err)
		return
	}
	fmt.Fprintf(out, "--- pods in %s\n", namespace)
	for _, p := range pods.Items {
		fmt.Fprintf(out, "  %-44s %-10s on %-6s %s%s\n", p.Name, p.Status.Phase, p.Spec.NodeName, p.Status.Message, troubles(&p))
	}
}

// troubles returns what keeps a pod's containers from running.
func troubles(p *corev1.Pod) string {
	var b strings.Builder
	if p.DeletionTimestamp != nil {
		b.WriteString(" being deleted")
	}
	for _, c := range p.Status.Conditions {
		if c.Status == corev1.ConditionFalse && c.Message != "" {
			fmt.Fprintf(&b, " %s: %s", c.Type, c.Message)
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		if c.RestartCount > 0 {
			fmt.Fprintf(&b, " %d restarts", c.RestartCount)
		}
		if w := c.State.Waiting; w != nil {
			fmt.Fprintf(&b, " %s: %s", w.Reason, w.Message)
		}
		if t := c.LastTerminationState.Terminated; t != nil {
			fmt.Fprintf(&b, " ended with %d %s", t.ExitCode, t.Message)
		}
	}
	return b.String()
}

func (s *Store) tellEvents(ctx context.Context, out io.Writer) {
	var events corev1.EventList
	if err := s.Client.List(ctx, &events, client.InNamespace(s.Namespace)); err != nil {
		fmt.Fprintln(out, "list events:", err)
		return
	}
	at := func(e corev1.Event) time.Time {
		return cmp.Or(e.LastTimestamp.Time, e.EventTime.Time, e.CreationTimestamp.Time)
	}
	slices.SortFunc(events.Items, func(a, b corev1.Event) int { return at(a).Compare(at(b)) })
	fmt.Fprintln(out, "--- events")
	for _, e := range events.Items[max(0, len(events.Items)-toldEvents):] {
		fmt.Fprintf(out, "  %s %-7s %s/%s %s: %s\n", at(e).Format("15:04:05"), e.Type, e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message)
	}
}

// tellLogs writes the last log lines of every pod in a namespace.
func (s *Stage) tellLogs(ctx context.Context, out io.Writer, namespace string) {
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
		return // tellPods has reported the error
	}
	lines := int64(toldLines)
	for _, p := range pods.Items {
		text, err := s.Kube.CoreV1().Pods(namespace).GetLogs(p.Name, &corev1.PodLogOptions{TailLines: &lines}).DoRaw(ctx)
		fmt.Fprintf(out, "--- log of %s\n", p.Name)
		if err != nil {
			fmt.Fprintf(out, "  cannot be read: %v\n", err)
			continue
		}
		fmt.Fprintf(out, "  %s\n", strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n  "))
	}
}
