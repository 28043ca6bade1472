package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/hack/quantile"
	"github.com/replicatedstore/replicatedstore/hack/soak/pauses/outcome"
	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

// fault is one kind of fault. strike begins it at the leader and its machine, and returns a function that ends it.
type fault struct {
	name   string
	lasts  time.Duration
	strike func(ctx context.Context, leader, node string) (mend func(context.Context) error, err error)
	// not returns a node on which the leader must not be for this fault; nil means that it may be on any.
	not func(ctx context.Context) (node string, err error)
}

type mending = func(context.Context) error

func (b *bench) faults() []fault {
	c := b.stage.Cluster
	cut := func(direction string) func(context.Context, string, string) (mending, error) {
		return func(ctx context.Context, _, node string) (mending, error) {
			if direction == "" {
				return c.Heal, c.CutNode(ctx, node, "all")
			}
			return c.Heal, c.CutOneWay(ctx, node, "all", direction)
		}
	}
	killNode := func(ctx context.Context, _, node string) (mending, error) {
		return func(ctx context.Context) error { return c.StartNode(ctx, node) }, c.KillNode(ctx, node)
	}
	freeze := func(ctx context.Context, member string) (mending, error) {
		return func(ctx context.Context) error { return c.ResumePod(ctx, b.store.Namespace, member) }, c.PausePod(ctx, b.store.Namespace, member)
	}
	return []fault{
		{name: "handover", lasts: 3 * time.Second, strike: func(ctx context.Context, _, _ string) (mending, error) { return nil, b.handOver(ctx) }},
		{name: "process killed", lasts: 6 * time.Second, strike: func(ctx context.Context, leader, _ string) (mending, error) {
			return nil, c.KillProcess(ctx, b.store.Namespace, leader)
		}},
		{name: "pod deleted by force", lasts: 6 * time.Second, strike: func(ctx context.Context, leader, _ string) (mending, error) {
			return nil, b.store.KillPod(ctx, leader)
		}},
		{name: "process frozen", lasts: 8 * time.Second, strike: func(ctx context.Context, leader, _ string) (mending, error) { return freeze(ctx, leader) }},
		{name: "machine lost", lasts: 8 * time.Second, strike: killNode},
		{name: "machine lost, and the acting operator", lasts: 8 * time.Second, strike: func(ctx context.Context, leader, node string) (mending, error) {
			operator, _, err := b.stage.Operators(ctx)
			if err != nil {
				return nil, err
			}
			if err := c.PausePod(ctx, stage.SystemNamespace, operator.Name); err != nil {
				return nil, err
			}
			mend, err := killNode(ctx, leader, node)
			return func(ctx context.Context) error {
				// An operator on the lost machine is gone with it.
				_ = c.ResumePod(ctx, stage.SystemNamespace, operator.Name)
				return mend(ctx)
			}, err
		}, not: b.standbyOperator},
		{name: "cut off", lasts: 8 * time.Second, strike: cut("")},
		{name: "hears nobody", lasts: 10 * time.Second, strike: cut("in")},
		{name: "nobody hears it", lasts: 10 * time.Second, strike: cut("out")},
		{name: "follower frozen", lasts: 8 * time.Second, strike: func(ctx context.Context, leader, _ string) (mending, error) {
			pods, err := b.store.Pods(ctx)
			if err != nil {
				return nil, err
			}
			for member := range pods {
				if member != leader {
					return freeze(ctx, member)
				}
			}
			return nil, errors.New("no follower")
		}},
		{name: "API server frozen", lasts: 10 * time.Second, strike: func(ctx context.Context, _, _ string) (mending, error) { return c.StartAPI, c.StopAPI(ctx) }},
	}
}

// handOver asks for another member to lead.
func (b *bench) handOver(ctx context.Context) error {
	return b.store.Patch(ctx, func(rs *v1alpha1.ReplicatedStore) {
		if rs.Annotations == nil {
			rs.Annotations = map[string]string{}
		}
		rs.Annotations[v1alpha1.AnnotationFailover] = v1alpha1.FailoverToAny
	})
}

// standbyOperator returns the node of the operator pod on standby: one operator must be left to fail over.
func (b *bench) standbyOperator(ctx context.Context) (string, error) {
	_, others, err := b.stage.Operators(ctx)
	switch {
	case err != nil:
		return "", err
	case len(others) == 0:
		return "", errors.New("no operator stands by")
	default:
		return others[0].Spec.NodeName, nil
	}
}

func (b *bench) operatorsReady(ctx context.Context) (bool, error) {
	var all appsv1.DeploymentList
	if err := b.stage.Client.List(ctx, &all, client.InNamespace(stage.SystemNamespace)); err != nil {
		return false, err
	}
	for _, d := range all.Items {
		if d.Status.ReadyReplicas < *d.Spec.Replicas {
			return false, nil
		}
	}
	return true, nil
}

func table(out io.Writer, faults []outcome.Fault) error {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "\n| fault\t| times\t| pause median\t| worst\t| failed\t| unknown\t| new leaders\t|")
	fmt.Fprintln(w, "| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t|")
	for _, f := range faults {
		var pauses []time.Duration
		var failed, unknown, leaders int64
		for _, o := range f.Times {
			pauses = append(pauses, o.Pause)
			failed, unknown, leaders = failed+o.Failed, unknown+o.Unknown, leaders+o.Leaders
		}
		all := quantile.Of(pauses)
		fmt.Fprintf(w, "| %s\t| %d\t| %d ms\t| %d ms\t| %d\t| %d\t| %d\t|\n", f.Name, len(all),
			all.At(0.5).Milliseconds(), all.At(1).Milliseconds(), failed, unknown, leaders)
	}
	return w.Flush()
}
