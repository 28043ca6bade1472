package plugin

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

const oidc = `
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {auth-provider: {name: oidc, config: {idp-issuer-url: "https://127.0.0.1:2", client-id: i, id-token: a.b.c}}}}]
`

// The plugin accepts a kubeconfig with an auth provider, as kubectl does.
func TestKubeconfigWithAnAuthProvider(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, []byte(oidc), 0o600); err != nil {
		t.Fatal(err)
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: file}
	if _, err := connect(&cobra.Command{}, clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil)); err != nil {
		t.Error(err)
	}
}

// shops is a client of a cluster that has a store of the same name in each of two namespaces.
type shops struct{ client.Client }

func (shops) List(_ context.Context, into client.ObjectList, opts ...client.ListOption) error {
	o := (&client.ListOptions{}).ApplyOptions(opts)
	for _, ns := range []string{"bank", "shop"} {
		if o.Namespace == ns || o.Namespace == "" {
			s := api.ReplicatedStore{}
			s.Namespace, s.Name = ns, "orders"
			all := into.(*api.ReplicatedStoreList)
			all.Items = append(all.Items, s)
		}
	}
	return nil
}

func (shops) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	into.SetNamespace(key.Namespace)
	into.SetName(key.Name)
	return nil
}

func TestStatusOfWhichStores(t *testing.T) {
	for args, want := range map[string]string{
		"status":                         "shop/orders",
		"status orders":                  "shop/orders",
		"status -A":                      "bank/orders shop/orders",
		"status --all-namespaces":        "bank/orders shop/orders",
		"status orders --all-namespaces": "error",
	} {
		var out bytes.Buffer
		root := newRoot(func(*cobra.Command) (session, error) {
			return session{client: shops{}, namespace: "shop", now: time.Now, out: &out}, nil
		})
		root.SetArgs(strings.Fields(args))
		var got []string
		if err := root.ExecuteContext(t.Context()); err != nil {
			got = []string{"error"}
		}
		for line := range strings.Lines(out.String()) {
			if name, _, ok := strings.Cut(line, "  "); ok && name != "" {
				got = append(got, name)
			}
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: %q, want %q", args, text, want)
		}
	}
}

// The operator ignores an empty annotation and leaves it there, so it must not keep the plugin from making a request.
func TestAnEmptyRequestIsNone(t *testing.T) {
	for request, refused := range map[string]bool{"": false, "orders-2": true, api.FailoverToAny: true} {
		store := &api.ReplicatedStore{}
		store.Annotations = map[string]string{api.AnnotationFailover: request}
		if err := allowed(store, api.FailoverToAny); (err != nil) != refused {
			t.Errorf("%q: %v", request, err)
		}
	}
}
