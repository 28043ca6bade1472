package stage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// Store is one store on a Stage.
type Store struct {
	*Stage
	Namespace, Name string
}

// Create creates the store of a manifest, after change has modified it (nil: unmodified).
func (s *Stage) Create(ctx context.Context, namespace string, text []byte, change func(*v1alpha1.ReplicatedStore)) (*Store, error) {
	var rs v1alpha1.ReplicatedStore
	if err := yaml.UnmarshalStrict(text, &rs); err != nil {
		return nil, fmt.Errorf("read the store's manifest: %w", err)
	}
	rs.Namespace = namespace
	if change != nil {
		change(&rs)
	}
	if err := s.Client.Create(ctx, &rs); err != nil {
		return nil, fmt.Errorf("create store %s: %w", rs.Name, err)
	}
	return &Store{Stage: s, Namespace: namespace, Name: rs.Name}, nil
}

// Get reads the store.
func (s *Store) Get(ctx context.Context) (*v1alpha1.ReplicatedStore, error) {
	var rs v1alpha1.ReplicatedStore
	return &rs, s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Name}, &rs)
}

// Patch sends the effect of change on the store as a merge patch.
func (s *Store) Patch(ctx context.Context, change func(*v1alpha1.ReplicatedStore)) error {
	rs, err := s.Get(ctx)
	if err != nil {
		return err
	}
	before := rs.DeepCopy()
	change(rs)
	return s.Client.Patch(ctx, rs, client.MergeFrom(before))
}

// Scale requests n members through the scale subresource, as `kubectl scale` does.
func (s *Store) Scale(ctx context.Context, n int) error {
	rs := &v1alpha1.ReplicatedStore{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name}}
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n))
	return s.Client.SubResource("scale").Patch(ctx, rs, patch)
}

// pollPeriod is the interval at which Wait looks.
const pollPeriod = 200 * time.Millisecond

// Wait polls the store until met returns nil, and calls progress whenever met's error changes. When ctx ends, it returns met's
// last error.
func (s *Store) Wait(ctx context.Context, progress func(string), met func(*v1alpha1.ReplicatedStore) error) (*v1alpha1.ReplicatedStore, error) {
	var said string
	for {
		rs, err := s.Get(ctx)
		if err == nil {
			if err = met(rs); err == nil {
				return rs, nil
			}
		}
		if ctx.Err() == nil && err.Error() != said {
			if said = err.Error(); progress != nil {
				progress(said)
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %s", context.Cause(ctx), said)
		case <-time.After(pollPeriod):
		}
	}
}

// Ready returns nil when the operator reports, for the current spec, that the store is as specified.
func Ready(rs *v1alpha1.ReplicatedStore) error {
	if rs.Status.ObservedGeneration < rs.Generation {
		return errors.New("the operator has not seen the newest spec")
	}
	for _, c := range rs.Status.Conditions {
		if c.Type == v1alpha1.ConditionReady {
			if c.Status == metav1.ConditionTrue && c.ObservedGeneration >= rs.Generation {
				return nil
			}
			return fmt.Errorf("%s: %s (%s)", rs.Status.Phase, c.Message, rs.Status.Summary.Members)
		}
	}
	return errors.New("the operator has said nothing yet")
}

// LedAfter returns a condition for Wait: a leadership after epoch is recorded, its report is final, and it takes writes.
func LedAfter(epoch int64) func(*v1alpha1.ReplicatedStore) error {
	return func(rs *v1alpha1.ReplicatedStore) error {
		r := rs.Status.LastFailover
		switch {
		case rs.Status.Epoch <= epoch || r == nil || r.Epoch <= epoch:
			return fmt.Errorf("%s leads epoch %d (%s)", orNobody(rs.Status.Leader), rs.Status.Epoch, rs.Status.Phase)
		case r.Result != v1alpha1.ResultSucceeded:
			return fmt.Errorf("%s to epoch %d is %s: %s", r.Kind, r.Epoch, r.Result, r.Message)
		case Condition(rs, v1alpha1.ConditionAvailable) != metav1.ConditionTrue:
			return fmt.Errorf("epoch %d is not available", rs.Status.Epoch)
		}
		return nil
	}
}

func orNobody(member string) string {
	if member == "" {
		return "nobody"
	}
	return member
}

// Condition returns a condition's status, or "" if it is not set.
func Condition(rs *v1alpha1.ReplicatedStore, kind string) metav1.ConditionStatus {
	for _, c := range rs.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}

// Address returns the address of the Service of the leader: its cluster IP, so that no name needs to be resolved, or its name
// where pods are reached through the API server.
func (s *Store) Address(ctx context.Context) (string, error) {
	return s.ServiceAddress(ctx, v1alpha1.ServiceReadWrite(s.Name))
}

// ServiceAddress is Address for any of the store's Services. Where pods are reached through the API server, only the leader's
// Service can be dialled.
func (s *Store) ServiceAddress(ctx context.Context, name string) (string, error) {
	if s.Cluster == nil {
		return net.JoinHostPort(name, strconv.Itoa(v1alpha1.PortClient)), nil
	}
	var svc corev1.Service
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: name}, &svc); err != nil {
		return "", fmt.Errorf("find the store's Service: %w", err)
	}
	return net.JoinHostPort(svc.Spec.ClusterIP, strconv.Itoa(v1alpha1.PortClient)), nil
}

// Pods returns the store's pods, by member.
func (s *Store) Pods(ctx context.Context) (map[string]*corev1.Pod, error) {
	var list corev1.PodList
	err := s.Client.List(ctx, &list, client.InNamespace(s.Namespace), client.MatchingLabels(v1alpha1.SelectorLabels(s.Name)))
	if err != nil {
		return nil, fmt.Errorf("list the members' pods: %w", err)
	}
	out := map[string]*corev1.Pod{}
	for i := range list.Items {
		out[list.Items[i].Labels[v1alpha1.LabelMember]] = &list.Items[i]
	}
	return out, nil
}

// membersWithin bounds the wait in Members: a leaving pod is gone after its grace period, and its successor has an address soon.
const membersWithin = time.Minute

// Members returns the members that the spec asks for, with the addresses of pods that are not being deleted. It fails if a member
// has no address, because a member must not go unverified.
func (s *Store) Members(ctx context.Context) (members []ledger.Member, err error) {
	_ = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, membersWithin, true, func(ctx context.Context) (bool, error) {
		members, err = s.membersNow(ctx)
		return err == nil, nil
	})
	return members, err
}

func (s *Store) membersNow(ctx context.Context) ([]ledger.Member, error) {
	rs, err := s.Get(ctx)
	if err != nil {
		return nil, err
	}
	pods, err := s.Pods(ctx)
	if err != nil {
		return nil, err
	}
	if len(rs.Status.Members) != rs.Spec.Size() {
		return nil, fmt.Errorf("the store has %d members, its spec asks for %d", len(rs.Status.Members), rs.Spec.Size())
	}
	var out []ledger.Member
	for _, m := range rs.Status.Members {
		pod := pods[m.Name]
		if pod == nil || pod.DeletionTimestamp != nil || pod.Status.PodIP == "" {
			return nil, fmt.Errorf("member %s has no address of its own, or is about to lose it", m.Name)
		}
		host := pod.Status.PodIP
		if s.Cluster == nil {
			host = pod.Name
		}
		out = append(out, ledger.Member{Name: m.Name, Address: net.JoinHostPort(host, strconv.Itoa(v1alpha1.PortClient))})
	}
	return out, nil
}

// KillPod deletes a member's pod with no grace period.
func (s *Store) KillPod(ctx context.Context, member string) error {
	zero := int64(0)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: member}}
	return s.Client.Delete(ctx, pod, &client.DeleteOptions{GracePeriodSeconds: &zero})
}

// Leader returns the leading member, its node and its epoch.
func (s *Store) Leader(ctx context.Context) (member, node string, epoch int64, err error) {
	rs, err := s.Get(ctx)
	if err != nil {
		return "", "", 0, err
	}
	if rs.Status.Leader == "" {
		return "", "", 0, errors.New("nobody leads")
	}
	pods, err := s.Pods(ctx)
	if err != nil {
		return "", "", 0, err
	}
	pod := pods[rs.Status.Leader]
	if pod == nil {
		return "", "", 0, fmt.Errorf("the leader %s has no pod", rs.Status.Leader)
	}
	return rs.Status.Leader, pod.Spec.NodeName, rs.Status.Epoch, nil
}
