// Package plugin implements the commands of kubectl-rstore.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubectl's authentication plugins
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// Exit codes, besides 0 for success and 1 for every other error.
const (
	exitRefused  = 2 // the operator refused the request
	exitFailed   = 3 // the request was begun and failed: nothing changed, or another member than the requested one leads
	exitNoResult = 4 // no result within the timeout: the request is blocked, or no operator reconciles the store
)

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// ExitCode returns the process's exit code for the error that a command returned, which may be nil.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return 1
}

// session is the environment that a command runs in.
type session struct {
	client    client.Client
	namespace string
	now       func() time.Time
	out       io.Writer
}

// connector creates the session of a command, once the command's flags are parsed.
type connector func(cmd *cobra.Command) (session, error)

// NewCommand returns the plugin's root command. It accepts kubectl's connection flags.
func NewCommand() *cobra.Command {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	overrides := &clientcmd.ConfigOverrides{}
	root := newRoot(func(cmd *cobra.Command) (session, error) {
		return connect(cmd, clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides))
	})
	flags := root.PersistentFlags()
	flags.StringVar(&rules.ExplicitPath, "kubeconfig", "", "path to the kubeconfig file")
	clientcmd.BindOverrideFlags(overrides, flags, clientcmd.RecommendedConfigOverrideFlags(""))
	return root
}

func newRoot(connect connector) *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-rstore",
		Short: "Manage ReplicatedStores",
		Annotations: map[string]string{
			cobra.CommandDisplayNameAnnotation: "kubectl rstore",
		},
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newStatus(connect), newFailover(connect), newFence(connect), newUnfence(connect), newReport(connect), newRestart(connect),
		newHibernate(connect), newWake(connect))
	return root
}

func connect(cmd *cobra.Command, config clientcmd.ClientConfig) (session, error) {
	namespace, _, err := config.Namespace()
	if err != nil {
		return session{}, fmt.Errorf("read kubeconfig: %w", err)
	}
	rest, err := config.ClientConfig()
	if err != nil {
		return session{}, fmt.Errorf("read kubeconfig: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(api.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		return session{}, fmt.Errorf("register types: %w", err)
	}
	c, err := client.New(rest, client.Options{Scheme: scheme})
	if err != nil {
		return session{}, fmt.Errorf("connect to the cluster: %w", err)
	}
	return session{client: c, namespace: namespace, now: time.Now, out: cmd.OutOrStdout()}, nil
}

// store reads one store.
func (s session) store(ctx context.Context, name string) (*api.ReplicatedStore, error) {
	out := &api.ReplicatedStore{}
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, out); err != nil {
		return nil, fmt.Errorf("read store %s/%s: %w", s.namespace, name, err)
	}
	return out, nil
}
