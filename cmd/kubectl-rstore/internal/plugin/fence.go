package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

func inNamespace(namespace string) client.ListOption { return client.InNamespace(namespace) }

func newFence(connect connector) *cobra.Command {
	return &cobra.Command{
		Use:   "fence NAME [MEMBER]",
		Short: "Stop a store from serving, or keep one member from leading, until unfence",
		Long: `Without MEMBER, every member of the store is fenced: no writes and no linearizable reads are served. With MEMBER, that member
hands over leadership if it leads, and is no longer elected; it keeps following, and votes only if there are too few others. The
fence of a member is an annotation on its pod: a recreated pod is not fenced.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return fence(cmd, connect, args, new(api.FencedTrue))
		},
	}
}

func newUnfence(connect connector) *cobra.Command {
	return &cobra.Command{
		Use:   "unfence NAME [MEMBER]",
		Short: "Undo fence",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return fence(cmd, connect, args, nil)
		},
	}
}

// fence sets AnnotationFenced to value, or removes it if value is nil, on the store or, if args name a member, on the member's pod.
func fence(cmd *cobra.Command, connect connector, args []string, value *string) error {
	s, err := connect(cmd)
	if err != nil {
		return err
	}
	store, err := s.store(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	if err := heeded(store); err != nil {
		return err
	}
	var target client.Object = store
	what := "store " + store.Name
	if len(args) == 2 {
		if err := isMember(store, args[1]); err != nil {
			return err
		}
		target = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: args[1]}}
		what = "member " + args[1]
	}
	if err := s.annotate(cmd.Context(), target, api.AnnotationFenced, value); err != nil {
		return err
	}
	verb := "fence"
	if value == nil {
		verb = "unfence"
	}
	_, err = fmt.Fprintf(s.out, "asked to %s %s\n", verb, what)
	return err
}

// annotate sets one annotation, or removes it if value is nil, and changes nothing else.
func (s session) annotate(ctx context.Context, o client.Object, key string, value *string) error {
	patch := client.RawPatch(mergePatch(key, value))
	if err := s.client.Patch(ctx, o, patch); err != nil {
		return fmt.Errorf("annotate %s/%s with %s: %w", s.namespace, o.GetName(), key, err)
	}
	return nil
}

// isMember returns an error that names the members if name is not one of them.
func isMember(store *api.ReplicatedStore, name string) error {
	var names []string
	for _, m := range store.Status.Members {
		names = append(names, m.Name)
	}
	if slices.Contains(names, name) {
		return nil
	}
	return fmt.Errorf("%s is not a member of store %s (members: %s)", name, store.Name, strings.Join(names, ", "))
}
