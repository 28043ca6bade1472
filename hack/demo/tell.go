package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// teller prints the story, each line with the time since the start.
type teller struct {
	out   io.Writer
	begun time.Time
}

func (t *teller) line(format string, args ...any) {
	fmt.Fprintf(t.out, "%7.1fs  %s\n", time.Since(t.begun).Seconds(), fmt.Sprintf(format, args...))
}

// step begins a chapter.
func (t *teller) step(format string, args ...any) {
	fmt.Fprintln(t.out)
	t.line("== %s", fmt.Sprintf(format, args...))
}

// progress prints a line while waiting.
func (t *teller) progress(s string) { t.line("   %s", strings.TrimSpace(s)) }

// change prints a short timeline of one change of leader, and how it affected the writer.
func (t *teller) change(r *v1alpha1.FailoverReport, gap ledger.Gap) {
	t.line("   %s, %s: %s -> %s, epoch %d -> %d", r.Kind, r.Reason, r.From, r.To, r.FromEpoch, r.Epoch)
	if r.DetectedTime != nil {
		parts := []string{"detected " + clock(r.DetectedTime)}
		for _, at := range []struct {
			what string
			time *metav1.MicroTime
		}{{"fenced", r.FencedTime}, {"promoted", r.PromotedTime}, {"writable", r.WritableTime}} {
			if at.time != nil {
				parts = append(parts, fmt.Sprintf("%s +%s", at.what, at.time.Sub(r.DetectedTime.Time).Round(time.Millisecond)))
			}
		}
		if !gap.Open && gap.Length() > 0 {
			parts = append(parts, fmt.Sprintf("first write again %+v", gap.To.Sub(r.DetectedTime.Time).Round(time.Millisecond)))
		}
		t.line("   %s", strings.Join(parts, ", "))
	}
	if r.WritesLost != "" {
		t.line("   acknowledged writes lost, as the operator says: %s", r.WritesLost)
	}
	t.gap(gap)
}

func (t *teller) gap(g ledger.Gap) {
	if g.Length() <= 0 {
		t.line("   the writer noticed nothing")
		return
	}
	t.line("   longest time without an acknowledged write: %v (%s to %s)", g.Length().Round(time.Millisecond),
		g.From.Format("15:04:05.000"), g.To.Format("15:04:05.000"))
}

func clock(t *metav1.MicroTime) string { return t.Local().Format("15:04:05.000") }

func (t *teller) farewell(kubeconfig, namespace, store string, own, down bool) {
	if down {
		return
	}
	fmt.Fprintf(t.out, `
Look around:
  export KUBECONFIG=%[1]s
  kubectl -n %[2]s get rstore,pods,lease
  kubectl -n %[2]s describe rstore %[3]s
  kubectl -n %[2]s port-forward svc/%[3]s-r 6379 &
  redis-cli -p 6379 SET greeting hello
`, kubeconfig, namespace, store)
	if own {
		fmt.Fprint(t.out, "Stop:\n  bin/cluster down        (kubectl, if you have none: bin/cluster tool-path kubectl)\n")
		return
	}
	fmt.Fprintf(t.out, "Stop:\n  kubectl delete namespace %s\n  helm uninstall replicatedstore-operator -n replicatedstore-system\n", namespace)
}
