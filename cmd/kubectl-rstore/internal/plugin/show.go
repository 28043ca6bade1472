package plugin

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/cmd/kubectl-rstore/internal/picture"
)

func newStatus(connect connector) *cobra.Command {
	var everywhere bool
	c := &cobra.Command{
		Use:   "status [NAME | --all-namespaces]",
		Short: "Show a store: leader, members, conditions and last failover. Without NAME: every store of the namespace, or of all namespaces",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if everywhere && len(args) == 1 {
				return errors.New("NAME and --all-namespaces exclude each other")
			}
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			if everywhere {
				s.namespace = ""
			}
			if len(args) == 1 {
				store, err := s.store(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return picture.Store(s.out, store, s.now())
			}
			return s.showAll(cmd)
		},
	}
	c.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "show the stores of every namespace")
	return c
}

// showAll shows every store of the session's namespace, or of all namespaces if the session has none.
func (s session) showAll(cmd *cobra.Command) error {
	of := "namespace " + s.namespace
	if s.namespace == "" {
		of = "any namespace"
	}
	var all api.ReplicatedStoreList
	if err := s.client.List(cmd.Context(), &all, inNamespace(s.namespace)); err != nil {
		return fmt.Errorf("list stores of %s: %w", of, err)
	}
	if len(all.Items) == 0 {
		_, err := fmt.Fprintf(s.out, "No stores in %s.\n", of)
		return err
	}
	for i := range all.Items {
		if i > 0 {
			if _, err := fmt.Fprintln(s.out); err != nil {
				return err
			}
		}
		if err := picture.Store(s.out, &all.Items[i], s.now()); err != nil {
			return err
		}
	}
	return nil
}

func newReport(connect connector) *cobra.Command {
	return &cobra.Command{
		Use:   "report NAME",
		Short: "Show how the last change of leader went and what it cost",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			store, err := s.store(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if store.Status.LastFailover == nil {
				return errors.New("store " + args[0] + " has not changed its leader yet")
			}
			return picture.Report(s.out, store.Status.LastFailover)
		},
	}
}
