package plugin

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

func newRestart(connect connector) *cobra.Command {
	return &cobra.Command{
		Use:   "restart NAME",
		Short: "Restart every member, one at a time, the leader last",
		Long: `Every member's pod is recreated: followers first, each once the store is whole again, and the leader last, after a planned
handover. If spec.image is empty, the members get the operator's current image.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
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
			now := s.now().UTC().Format(time.RFC3339)
			if err := s.annotate(cmd.Context(), store, api.AnnotationRestart, &now); err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.out, "store %s restarts\n", store.Name)
			return err
		},
	}
}
