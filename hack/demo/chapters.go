package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

func (d *demo) scaleUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	rs, err := d.store.Get(ctx)
	if err != nil {
		return err
	}
	n := rs.Spec.Size() + 1
	d.tell.step("one follower more: kubectl scale rstore %s --replicas=%d", d.store.Name, n)
	begun := time.Now()
	if err := d.store.Scale(ctx, n); err != nil {
		return fmt.Errorf("scale: %w", err)
	}
	if err := d.ready(ctx); err != nil {
		return err
	}
	s, err := d.writer.Stats(begun)
	if err != nil {
		return err
	}
	d.tell.gap(s.Gap)
	return d.pause(ctx)
}

func (d *demo) moveLeadership(ctx context.Context) error {
	d.tell.step("move leadership: kubectl annotate rstore %s %s=%s", d.store.Name, v1alpha1.AnnotationFailover, v1alpha1.FailoverToAny)
	return d.change(ctx, func(ctx context.Context, _, _ string) error {
		return d.store.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) {
			if rs.Annotations == nil {
				rs.Annotations = map[string]string{}
			}
			rs.Annotations[v1alpha1.AnnotationFailover] = v1alpha1.FailoverToAny
		})
	})
}

func (d *demo) killPod(ctx context.Context) error {
	return d.change(ctx, func(ctx context.Context, leader, _ string) error {
		d.tell.step("kill the leader's pod: kubectl delete pod %s --grace-period=0 --force", leader)
		return d.store.KillPod(ctx, leader)
	})
}

func (d *demo) killNode(ctx context.Context) error {
	if d.stage.Cluster == nil {
		d.tell.step("killing the leader's machine is left out: this is not the project's own cluster")
		return nil
	}
	var lost string
	return d.change(ctx, func(ctx context.Context, leader, node string) error {
		lost = node
		d.tell.step("kill the leader's machine, %s with %s: cluster kill %s", node, leader, node)
		return d.stage.Cluster.KillNode(ctx, node)
	}, func(ctx context.Context) error {
		d.tell.line("   turn the machine on again: cluster start %s", lost)
		return d.stage.Cluster.StartNode(ctx, lost)
	})
}

// change breaks something about the leader, waits until another leadership takes writes, reports how that went, mends, and waits
// until the store is Ready again.
func (d *demo) change(ctx context.Context, do func(ctx context.Context, leader, node string) error, mend ...func(context.Context) error) error {
	changing, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	leader, node, epoch, err := d.store.Leader(changing)
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := do(changing, leader, node); err != nil {
		return err
	}
	rs, err := d.store.Wait(changing, d.tell.progress, stage.LedAfter(epoch))
	if err != nil {
		return fmt.Errorf("no new leader: %w", err)
	}
	if err := d.tellChange(changing, rs.Status.LastFailover, begun); err != nil {
		return err
	}
	for _, m := range mend {
		if err := m(ctx); err != nil {
			return err
		}
	}
	mending, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := d.ready(mending); err != nil {
		return err
	}
	return d.pause(ctx)
}

// tellChange waits until the writer writes again, which may be a little after the operator's report.
func (d *demo) tellChange(ctx context.Context, r *v1alpha1.FailoverReport, begun time.Time) error {
	for {
		s, err := d.writer.Stats(begun)
		if err != nil {
			return err
		}
		if !s.Gap.Open && s.LastAcknowledged.After(begun) {
			d.tell.change(r, s.Gap)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("there is a new leader, but nothing was acknowledged for %v: %s", s.Gap.Length().Round(time.Millisecond), s.LastError)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// progressWriter shows the output of the tools: all of it, or only the lines about long-running work.
type progressWriter struct {
	tell    *teller
	verbose bool
	rest    []byte
}

func (p *progressWriter) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	for {
		line, rest, found := bytes.Cut(p.rest, []byte("\n"))
		if !found {
			return len(b), nil
		}
		if p.rest = bytes.Clone(rest); p.verbose {
			p.tell.progress(string(line))
		}
	}
}
