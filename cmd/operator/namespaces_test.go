package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

type kindOf struct{ gv, kind string }

var kinds = map[string]kindOf{
	"pods": {"v1", "Pod"}, "persistentvolumeclaims": {"v1", "PersistentVolumeClaim"}, "services": {"v1", "Service"},
	"serviceaccounts": {"v1", "ServiceAccount"}, "nodes": {"v1", "Node"},
	"endpointslices": {"discovery.k8s.io/v1", "EndpointSlice"}, "roles": {"rbac.authorization.k8s.io/v1", "Role"},
	"rolebindings": {"rbac.authorization.k8s.io/v1", "RoleBinding"}, "poddisruptionbudgets": {"policy/v1", "PodDisruptionBudget"},
	"leases": {"coordination.k8s.io/v1", "Lease"}, "replicatedstores": {"replicatedstore.io/v1alpha1", "ReplicatedStore"},
}

// apiServer starts an API server that has no objects. For namespaces for which gone returns true, it refuses requests as if the operator's
// RoleBinding did not exist.
func apiServer(t *testing.T, gone func(namespace string) bool) *rest.Config {
	send := func(w http.ResponseWriter, code int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(v)
	}
	type m = map[string]any
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.Trim(r.URL.Path, "/")
		parts := strings.Split(path, "/")
		last := parts[len(parts)-1]
		switch {
		case path == "api":
			send(w, 200, m{"kind": "APIVersions", "versions": []string{"v1"}})
			return
		case path == "apis":
			var groups []any
			for _, gv := range []string{"discovery.k8s.io/v1", "rbac.authorization.k8s.io/v1", "policy/v1", "coordination.k8s.io/v1", "replicatedstore.io/v1alpha1"} {
				g, v, _ := strings.Cut(gv, "/")
				groups = append(groups, m{"name": g, "versions": []any{m{"groupVersion": gv, "version": v}}, "preferredVersion": m{"groupVersion": gv, "version": v}})
			}
			send(w, 200, m{"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
			return
		case path == "api/v1" || len(parts) == 3 && parts[0] == "apis":
			gv := strings.TrimPrefix(strings.TrimPrefix(path, "apis/"), "api/")
			var out []any
			for name, k := range kinds {
				if k.gv == gv {
					out = append(out, m{"name": name, "kind": k.kind, "namespaced": name != "nodes", "verbs": []string{"get", "list", "watch", "create", "patch"}})
				}
			}
			send(w, 200, m{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv, "resources": out})
			return
		case len(parts) == 2 && parts[0] == "apis":
			for _, k := range kinds {
				if g, v, ok := strings.Cut(k.gv, "/"); ok && g == parts[1] {
					send(w, 200, m{"kind": "APIGroup", "apiVersion": "v1", "name": g, "versions": []any{m{"groupVersion": k.gv, "version": v}}, "preferredVersion": m{"groupVersion": k.gv, "version": v}})
					return
				}
			}
		}
		k, known := kinds[last]
		_, namespace, _ := strings.Cut(path, "/namespaces/")
		namespace, _, _ = strings.Cut(namespace, "/")
		switch {
		case gone(namespace):
			send(w, 403, m{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403,
				"message": fmt.Sprintf("%s is forbidden: User cannot list resource in the namespace %q", last, namespace)})
		case !known:
			send(w, 404, m{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404})
		case r.URL.Query().Get("watch") == "true" || r.URL.Query().Get("watch") == "1":
			if r.URL.Query().Get("sendInitialEvents") == "true" {
				send(w, 422, m{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid", "code": 422})
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadataList"):
			send(w, 200, m{"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": m{"resourceVersion": "1"}, "items": []any{}})
		default:
			send(w, 200, m{"kind": k.kind + "List", "apiVersion": k.gv, "metadata": m{"resourceVersion": "1"}, "items": []any{}})
		}
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return &rest.Config{Host: s.URL}
}

// words collects what was logged, for all tests: the process's logger can be set only once.
type words struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

var logged = &words{}

func TestMain(m *testing.M) {
	ctrl.SetLogger(zap.New(zap.WriteTo(logged)))
	os.Exit(m.Run())
}

func flags(t *testing.T, more ...string) options {
	t.Helper()
	o, err := parse("operator", append([]string{"--node-image=x", "--watch-namespaces=bank,shop", "--leader-elect=false", "--metrics-bind-address=0"}, more...))
	if err != nil {
		t.Fatal(err)
	}
	o.askAgain = 200 * time.Millisecond
	return o
}

// operate runs the operator until the test ends. ready reports whether its caches have synced; ended receives the error that it ends with.
func operate(t *testing.T, config *rest.Config) (ready func() bool, ended chan error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: %q}}]\n"+
		"contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n", config.Host)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", file)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	probes := l.Addr().String()
	_ = l.Close()
	o := flags(t, "--health-probe-bind-address="+probes)
	ctx, cancel := context.WithCancel(t.Context())
	done, gone := make(chan error, 1), make(chan struct{})
	go func() { defer close(gone); done <- run(ctx, o) }()
	t.Cleanup(func() { cancel(); <-gone })
	return func() bool {
		res, err := http.Get("http://" + probes + "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	}, done
}

// TestANamespaceThatIsGoneIsLeftOut checks that an operator serves the other namespaces while one is gone, and exits once that one is back.
func TestANamespaceThatIsGoneIsLeftOut(t *testing.T) {
	var back atomic.Bool
	ready, ended := operate(t, apiServer(t, func(n string) bool { return n == "shop" && !back.Load() }))
	for end := time.Now().Add(2 * time.Minute); !ready(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the namespace shop was deleted, and the operator does not look after bank either")
		}
	}
	if s := logged.String(); !strings.Contains(s, "A namespace is not served") || !strings.Contains(s, `"namespace":"shop"`) || strings.Contains(s, `"namespace":"bank"`) {
		t.Errorf("logged %s", s)
	}
	select {
	case err := <-ended:
		t.Fatalf("it ended while shop was gone: %v", err)
	case <-time.After(time.Second):
	}
	back.Store(true)
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "shop may be served again") {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(2 * time.Minute):
		t.Error("shop is there again, and is never served")
	}
}

// TestWhatIsServed checks that a namespace counts as allowed if nothing can be found out about it, and that all of them are served if none is
// allowed: then the operator cannot do its work anyway.
func TestWhatIsServed(t *testing.T) {
	broken := &rest.Config{Host: "http://127.0.0.1:1"}
	for name, tc := range map[string]struct {
		config *rest.Config
		flags  []string
		want   []string
		ends   string
	}{
		"both are there":          {apiServer(t, func(string) bool { return false }), nil, []string{"bank", "shop"}, ""},
		"one is gone":             {apiServer(t, func(n string) bool { return n == "shop" }), nil, []string{"bank"}, ""},
		"both are gone":           {apiServer(t, func(string) bool { return true }), nil, []string{"bank", "shop"}, "bank, shop"},
		"no API server":           {broken, nil, []string{"bank", "shop"}, ""},
		"none is named":           {apiServer(t, func(string) bool { return true }), []string{"--watch-namespaces="}, nil, ""},
		"the only one is refused": {apiServer(t, func(string) bool { return true }), []string{"--watch-namespaces=bank"}, []string{"bank"}, "bank"},
	} {
		t.Run(name, func(t *testing.T) {
			where, err := survey(t.Context(), tc.config, flags(t, tc.flags...))
			if err != nil || !slices.Equal(where.served(), tc.want) {
				t.Errorf("%v is served, want %v: %v", where.served(), tc.want, err)
			}
			if err := where.explain(context.DeadlineExceeded); (tc.ends != "") != strings.Contains(err.Error(), "none of the namespaces") || !strings.Contains(err.Error(), tc.ends) {
				t.Errorf("it ends with %v", err)
			}
			if err := where.explain(nil); err != nil {
				t.Error(err)
			}
		})
	}
}
