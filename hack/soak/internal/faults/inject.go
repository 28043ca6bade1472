package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
)

// Injector injects faults into the project's own cluster.
type Injector struct {
	Stage   *stage.Stage
	Stores  []*stage.Store
	Workers int
}

// Broken is an active fault.
type Broken struct {
	What string // what was hit, for people
	Mend func(context.Context) error
}

// place is a member and its node.
type place struct{ member, node string }

// Break begins a fault. MendAll also undoes whatever the fault's Mend undoes.
func (i *Injector) Break(ctx context.Context, f Fault) (Broken, error) {
	switch f.Kind {
	case ProcessKill:
		return i.killProcesses(ctx, f)
	case NodeKill:
		at, _, err := i.find(ctx, i.Stores[f.Store], f.Follower)
		if err != nil {
			return Broken{}, err
		}
		return Broken{
			What: fmt.Sprintf("kill %s with %s", at.node, at.member),
			Mend: func(ctx context.Context) error { return i.Stage.Cluster.StartNode(ctx, at.node) },
		}, i.Stage.Cluster.KillNode(ctx, at.node)
	case Cut, OneWayCut:
		return i.cut(ctx, f)
	case LeaderPause:
		return i.pause(ctx)
	case APIDown:
		return Broken{What: "freeze kube-apiserver and etcd", Mend: i.Stage.Cluster.StartAPI}, i.Stage.Cluster.StopAPI(ctx)
	case OperatorKill:
		return i.killOperators(ctx, f)
	}
	return Broken{}, fmt.Errorf("fault %q is none", f.Kind)
}

func nothing(context.Context) error { return nil }

func (i *Injector) killProcesses(ctx context.Context, f Fault) (Broken, error) {
	var hit []string
	for _, s := range i.Stores {
		at, _, err := i.find(ctx, s, f.Follower)
		if err == nil {
			err = i.Stage.Cluster.KillProcess(ctx, s.Namespace, at.member)
		}
		if err != nil {
			return Broken{Mend: nothing}, err
		}
		hit = append(hit, at.member)
	}
	return Broken{What: "kill -9 " + strings.Join(hit, ", "), Mend: nothing}, nil
}

func (i *Injector) killOperators(ctx context.Context, f Fault) (Broken, error) {
	b := Broken{What: "kill both operators", Mend: nothing}
	if f.WithLeader {
		killed, err := i.killProcesses(ctx, f)
		if err != nil {
			return b, err
		}
		b.What = killed.What + "; " + b.What
	}
	return b, i.Stage.KillOperators(ctx)
}

func (i *Injector) cut(ctx context.Context, f Fault) (Broken, error) {
	at, others, err := i.find(ctx, i.Stores[f.Store], f.Follower)
	if err != nil {
		return Broken{}, err
	}
	from := string(f.From)
	if f.From == FromPeer {
		if len(others) == 0 {
			return Broken{}, errors.New("every member is on one node")
		}
		from = others[0].node
	}
	b := Broken{What: fmt.Sprintf("cut %s with %s from %s", at.node, at.member, from), Mend: i.Stage.Cluster.Heal}
	if f.Direction == "" {
		return b, i.Stage.Cluster.CutNode(ctx, at.node, from)
	}
	b.What += ", what it " + map[string]string{"in": "receives", "out": "sends"}[f.Direction]
	return b, i.Stage.Cluster.CutOneWay(ctx, at.node, from, f.Direction)
}

func (i *Injector) pause(ctx context.Context) (Broken, error) {
	var frozen []func(context.Context) error
	var names []string
	mend := func(ctx context.Context) error {
		var err error
		for _, resume := range frozen {
			err = errors.Join(err, resume(ctx))
		}
		return err
	}
	for _, s := range i.Stores {
		at, _, err := i.find(ctx, s, false)
		if err == nil {
			frozen = append(frozen, func(ctx context.Context) error { return i.Stage.Cluster.ResumePod(ctx, s.Namespace, at.member) })
			names = append(names, at.member)
			err = i.Stage.Cluster.PausePod(ctx, s.Namespace, at.member)
		}
		if err != nil {
			return Broken{Mend: mend}, err
		}
	}
	return Broken{What: "freeze " + strings.Join(names, ", "), Mend: mend}, nil
}

// find returns the leader, or a follower, and the members on other nodes.
func (i *Injector) find(ctx context.Context, s *stage.Store, follower bool) (place, []place, error) {
	leader, _, _, err := s.Leader(ctx)
	if err != nil {
		return place{}, nil, fmt.Errorf("find whom to hit of %s: %w", s.Name, err)
	}
	pods, err := s.Pods(ctx)
	if err != nil {
		return place{}, nil, err
	}
	var hit *place
	var all []place
	for member, pod := range pods {
		if pod.Spec.NodeName != "" {
			all = append(all, place{member, pod.Spec.NodeName})
		}
	}
	slices.SortFunc(all, func(a, b place) int { return strings.Compare(a.member, b.member) })
	for n := range all {
		if (all[n].member == leader) != follower {
			hit = &all[n]
			break
		}
	}
	if hit == nil {
		return place{}, nil, fmt.Errorf("find whom to hit of %s: it has no such member", s.Name)
	}
	at := *hit
	return at, slices.DeleteFunc(all, func(p place) bool { return p.node == at.node }), nil
}

// MendAll undoes whatever any fault has left behind, as far as possible: it continues after an error.
func (i *Injector) MendAll(ctx context.Context) error {
	errs := []error{i.Stage.Cluster.StartAPI(ctx), i.Stage.Cluster.Heal(ctx)}
	for n := range i.Workers {
		errs = append(errs, i.Stage.Cluster.EnsureNode(ctx, fmt.Sprintf("n%d", n+1)))
	}
	for _, s := range i.Stores {
		pods, err := s.Pods(ctx)
		errs = append(errs, err)
		for member := range pods {
			// A pod that is not running has nothing to resume. The store's conditions tell whether it runs again.
			_ = i.Stage.Cluster.ResumePod(ctx, s.Namespace, member)
		}
	}
	return errors.Join(errs...)
}
