package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/cmd/kubectl-rstore/internal/picture"
)

const (
	// lookEvery is the interval of reading the store while following a request.
	lookEvery = 300 * time.Millisecond
	// unseenAfter is how long the operator may take to notice a request before the user is told that it did not.
	unseenAfter = 10 * time.Second
	// reportWithin is how long to wait for the report after the result: the operator publishes the result first.
	reportWithin = 5 * time.Second
)

// request holds the flags of the failover command.
type request struct {
	to      string
	timeout time.Duration
	wait    bool
}

func newFailover(connect connector) *cobra.Command {
	r := request{}
	c := &cobra.Command{
		Use:   "failover NAME",
		Short: "Change the leader of a store, and wait for the result",
		Long: `Asks the operator for another leader, by annotation. If the leader is alive, this is a planned handover: writes pause until the
new leader has every write, and nothing is lost. Otherwise it is a failover, even in failover mode Manual.

Exit code: 0 succeeded, 2 refused, 3 failed (nothing changed, or another member than --to leads), 4 no result within --timeout,
1 any other error.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			return s.failover(cmd.Context(), args[0], r)
		},
	}
	c.Flags().StringVar(&r.to, "to", api.FailoverToAny, "member that should lead")
	c.Flags().DurationVar(&r.timeout, "timeout", 2*time.Minute, "how long to follow the request; it stands afterwards")
	c.Flags().BoolVar(&r.wait, "wait", true, "follow until there is a result")
	return c
}

func (s session) failover(ctx context.Context, name string, r request) error {
	before, err := s.store(ctx, name)
	if err != nil {
		return err
	}
	if err := allowed(before, r.to); err != nil {
		return err
	}
	if err := s.annotate(ctx, before.DeepCopy(), api.AnnotationFailover, &r.to); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(s.out, "asked for leader %q instead of %q\n", r.to, before.Status.Leader); err != nil || !r.wait {
		return err
	}
	after, err := s.follow(ctx, before, r)
	if err != nil {
		return err
	}
	return s.conclude(after)
}

// allowed returns an error for a request that would get no result, or the result of another request.
func allowed(store *api.ReplicatedStore, to string) error {
	if other := store.Annotations[api.AnnotationFailover]; other != "" {
		return fmt.Errorf("another request is in progress: annotation %s is %q", api.AnnotationFailover, other)
	}
	if err := heeded(store); err != nil {
		return err
	}
	if store.Fenced() {
		return fmt.Errorf("store %s is fenced and has no leader: unfence it first", store.Name)
	}
	if to == api.FailoverToAny {
		return nil
	}
	return isMember(store, to)
}

// heeded returns an error if the operator was told to leave the store alone, and so would ignore any request.
func heeded(store *api.ReplicatedStore) error {
	if store.Paused() {
		return fmt.Errorf("the operator is told to leave store %s alone and would ignore the request: annotation %s is %q",
			store.Name, api.AnnotationReconcile, api.ReconcileDisabled)
	}
	return nil
}

// follow reads the store until the request has a new result and the report that belongs to it, and prints what changes on the way. It returns
// the store as read then.
func (s session) follow(ctx context.Context, before *api.ReplicatedStore, r request) (*api.ReplicatedStore, error) {
	asked := ctx
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	said := narrator{session: s, asked: s.now(), last: describe(before)}
	var seen *api.ReplicatedStore  // the store as last read
	var problem error              // of the last read that the timeout did not cut off; transient errors are retried
	var ended *api.ReplicatedStore // the store as last read with a result
	var since time.Time            // when it was first read with a result
	for {
		store, err := s.store(ctx, before.Name)
		if err == nil || seen == nil || ctx.Err() == nil {
			problem = err
		}
		if err == nil {
			if seen = store; finished(before.Status.FailoverRequest, store.Status.FailoverRequest, r.to) {
				if ended == nil {
					since = s.now()
				}
				if ended = store; reported(store) {
					return store, nil
				}
			}
			if err := said.tell(store); err != nil {
				return nil, err
			}
		}
		if ended != nil && s.now().Sub(since) >= reportWithin {
			return ended, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if ended != nil {
				return ended, nil
			}
			if asked.Err() != nil {
				return nil, fmt.Errorf("interrupted: the request stands; remove annotation %s to withdraw it", api.AnnotationFailover)
			}
			return nil, &exitError{exitNoResult, noResult(seen, problem, r.timeout)}
		}
	}
}

// finished reports whether now is the final result of the request for to, and not of an earlier request.
func finished(before, now *api.FailoverRequestStatus, to string) bool {
	if now == nil || now.Target != to || !now.Result.Finished() {
		return false
	}
	return before == nil || !now.FinishedTime.Equal(before.FinishedTime)
}

// reported reports whether the failover report in status has caught up with the result of the request.
func reported(store *api.ReplicatedStore) bool {
	outcome, report := store.Status.FailoverRequest, store.Status.LastFailover
	switch {
	case outcome.Epoch == 0:
		return true // the request was not begun, so there is no report
	case report == nil || store.Status.Epoch < outcome.Epoch || report.Epoch < outcome.Epoch:
		return false
	default:
		return report.Epoch > outcome.Epoch || report.Result.Finished()
	}
}

func noResult(store *api.ReplicatedStore, problem error, timeout time.Duration) error {
	if problem != nil {
		return fmt.Errorf("no result within %s, and the store cannot be read: %w", timeout, problem)
	}
	if c := meta.FindStatusCondition(store.Status.Conditions, api.ConditionFailoverBlocked); c != nil && c.Status == "True" {
		return fmt.Errorf("no result within %s: blocked by %s: %s (the request stands; remove annotation %s to withdraw it)",
			timeout, c.Reason, c.Message, api.AnnotationFailover)
	}
	return fmt.Errorf("no result within %s: the store is %s (the request stands; remove annotation %s to withdraw it)",
		timeout, store.Status.Phase, api.AnnotationFailover)
}

// narrator prints each state of the store once.
type narrator struct {
	session
	asked  time.Time
	last   string
	warned bool
}

func (n *narrator) tell(store *api.ReplicatedStore) error {
	since := n.now().Sub(n.asked)
	if now := describe(store); now != n.last {
		n.last = now
		if _, err := fmt.Fprintf(n.out, "%6.1fs  %s\n", since.Seconds(), now); err != nil {
			return err
		}
	}
	waiting := store.Annotations[api.AnnotationFailover] != ""
	if waiting && !n.warned && since > unseenAfter && store.Status.Phase == api.PhaseReady {
		n.warned = true
		_, err := fmt.Fprintf(n.out, "%6.1fs  the operator has not picked up the request yet: is it running?\n", since.Seconds())
		return err
	}
	return nil
}

// describe returns one line: the phase, and the message of the condition behind it.
func describe(store *api.ReplicatedStore) string {
	line := string(store.Status.Phase)
	for _, kind := range []string{api.ConditionFailoverBlocked, api.ConditionProgressing} {
		if c := meta.FindStatusCondition(store.Status.Conditions, kind); c != nil && c.Status == "True" {
			return line + ": " + c.Message
		}
	}
	return line
}

// conclude prints the report of a finished request, and turns the request's result into an exit code.
func (s session) conclude(store *api.ReplicatedStore) error {
	outcome := store.Status.FailoverRequest
	if report := store.Status.LastFailover; report != nil && outcome.Epoch > 0 && report.Epoch == outcome.Epoch {
		if err := picture.Report(s.out, report); err != nil {
			return err
		}
	}
	switch outcome.Result {
	case api.ResultSucceeded:
		_, err := fmt.Fprintf(s.out, "succeeded: %s\n", outcome.Message)
		return err
	case api.ResultRefused:
		return &exitError{exitRefused, fmt.Errorf("refused: %s", outcome.Message)}
	default:
		return &exitError{exitFailed, fmt.Errorf("%s: %s", outcome.Result, outcome.Message)}
	}
}

// mergePatch returns a patch that sets one annotation, or removes it if value is nil.
func mergePatch(key string, value *string) (types.PatchType, []byte) {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]*string{key: value}}})
	if err != nil {
		panic(fmt.Sprintf("broken invariant: a map of strings is JSON: %v", err))
	}
	return types.MergePatchType, body
}
