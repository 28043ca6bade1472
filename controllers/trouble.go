package controllers

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// troubleOf says why a pod does not run, in Kubernetes' own words, and how its container ended, if it did.
func troubleOf(pod *corev1.Pod) string {
	if pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" {
		return pod.Status.Reason + ": " + pod.Status.Message
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c.Reason + ": " + c.Message
		}
	}
	for _, c := range pod.Status.ContainerStatuses {
		if text := whyWaiting(c); text != "" {
			return text
		}
	}
	if creating, _ := containerOf(pod); !creating {
		return "" // init containers do not keep the member from running
	}
	for _, c := range pod.Status.InitContainerStatuses {
		if text := whyWaiting(c); text != "" {
			return "init container " + c.Name + ": " + text
		}
	}
	return ""
}

// whyWaiting says why a container does not run, and how it ended, if it did; "" if nothing is wrong with it.
func whyWaiting(c corev1.ContainerStatus) string {
	w := c.State.Waiting
	if w == nil || beingMade(w) || w.Reason == "" {
		return ""
	}
	text := w.Reason + ": " + w.Message
	if end := endOf(c); end != nil {
		text += "; it " + howEnded(end)
	}
	return text
}

func beingMade(w *corev1.ContainerStateWaiting) bool {
	return w.Reason == "ContainerCreating" || w.Reason == "PodInitializing"
}

// containerOf reports whether a pod's container is being created, and how it last ended.
func containerOf(pod *corev1.Pod) (creating bool, ended string) {
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && beingMade(w) {
			creating = true
		}
		if end := endOf(c); end != nil && ended == "" {
			ended = howEnded(end)
		}
	}
	return creating, ended
}

// endOf returns how a container last ended; nil if it never did.
func endOf(c corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	if c.State.Terminated != nil {
		return c.State.Terminated
	}
	return c.LastTerminationState.Terminated
}

// howEnded describes an end: "ended at 2026-03-14T15:09:26Z with exit code 1: node: open log: no such file".
func howEnded(t *corev1.ContainerStateTerminated) string {
	how := fmt.Sprintf("exit code %d", t.ExitCode)
	if t.Reason != "" && t.Reason != "Error" && t.Reason != "Completed" {
		how = t.Reason + ", " + how
	}
	text := "ended"
	if !t.FinishedAt.IsZero() {
		text += " at " + t.FinishedAt.UTC().Format(time.RFC3339)
	}
	text += " with " + how
	if last := lastWords(t.Message); last != "" && t.ExitCode != 0 {
		text += ": " + last
	}
	return text
}

// lastWords returns the line at the end of a log that says why the process ended: the first line of a panic, or the last
// line.
func lastWords(log string) string {
	const most = 300
	words := ""
	for line := range strings.SplitSeq(log, "\n") {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			words = line
			break
		}
		words = cmp.Or(strings.TrimSpace(line), words)
	}
	if words = strings.TrimRight(words, "."); len(words) > most {
		words = strings.ToValidUTF8(words[:most], "") + " ..."
	}
	return words
}

// nodeTroubleOf says that a node is not ready, in Kubernetes' own words; "" if it is, or if nothing is known about it.
func nodeTroubleOf(node *corev1.Node) string {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
			return fmt.Sprintf("its node %s is not ready (%s: %s)", node.Name, c.Reason, strings.TrimRight(c.Message, "."))
		}
	}
	return ""
}
