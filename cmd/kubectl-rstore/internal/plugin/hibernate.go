package plugin

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func newHibernate(connect connector) *cobra.Command {
	return &cobra.Command{
		Use:   "hibernate NAME",
		Short: "Put a store to sleep: no pods, only its volumes, until wake",
		Long: `Writes stop, followers catch up, and the pods are deleted, the leader's last. The volumes stay. After wake, the members come back
and the same member leads, in a new epoch.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return hibernate(cmd, connect, args[0], true)
		},
	}
}

func newWake(connect connector) *cobra.Command {
	return &cobra.Command{
		Use:   "wake NAME",
		Short: "Undo hibernate",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return hibernate(cmd, connect, args[0], false)
		},
	}
}

func hibernate(cmd *cobra.Command, connect connector, name string, asleep bool) error {
	s, err := connect(cmd)
	if err != nil {
		return err
	}
	store, err := s.store(cmd.Context(), name)
	if err != nil {
		return err
	}
	if err := heeded(store); err != nil {
		return err
	}
	patch := fmt.Appendf(nil, `{"spec":{"hibernated":%t}}`, asleep)
	if err := s.client.Patch(cmd.Context(), store, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("set spec.hibernated of %s/%s: %w", s.namespace, name, err)
	}
	verb := "wakes up"
	if asleep {
		verb = "goes to sleep"
	}
	_, err = fmt.Fprintf(s.out, "store %s %s\n", name, verb)
	return err
}
