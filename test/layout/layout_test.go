// Package layout checks that the dependencies between rooms point one way; docs/architecture.md explains them.
package layout

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/replicatedstore/replicatedstore/"

// rules say what the non-test code of a room must not import directly.
var rules = []struct {
	room   string
	except []string // sub-rooms exempt from the rule
	never  []string
	why    string
}{
	{"replication", nil, []string{"k8s.io/", "sigs.k8s.io/", module + "node", module + "controllers", module + "api", module + "cmd"}, "replication knows neither Kubernetes nor the client protocol"},
	{"node", []string{"node/lease"}, []string{"k8s.io/", "sigs.k8s.io/"}, "only node/lease speaks to Kubernetes"},
	{"node", nil, []string{module + "controllers", module + "api", module + "cmd"}, "the node does not know its operator"},
	{"controllers", nil, []string{module + "node", module + "cmd", module + "replication/wal", module + "replication/peer", module + "replication/snapshot", module + "replication/meta", module + "replication/durable", module + "replication/volume"}, "controllers uses only replication's value types and wire"},
	{"controllers/decide", nil, []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime", "github.com/go-logr", "log", "os", "net/http"}, "decide is pure"},
	{"controllers/render", nil, []string{"k8s.io/client-go/kubernetes", "k8s.io/client-go/rest", "sigs.k8s.io/controller-runtime", "github.com/go-logr", "log", "os", "net/http"}, "render is pure"},
	{"api", nil, []string{module + "controllers", module + "node", module + "cmd"}, "the API depends on nobody"},
	{"replication/wal", nil, []string{module + "replication/peer", module + "replication/snapshot", module + "replication/wire"}, "the log is below the streams"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestArrowsPointOneWay(t *testing.T) {
	for _, p := range load(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		for _, r := range rules {
			if !within(path, r.room) || spared(path, r.except) {
				continue
			}
			for _, imp := range p.Imports {
				for _, never := range r.never {
					if imp == never || strings.HasPrefix(imp, strings.TrimSuffix(never, "/")+"/") {
						t.Errorf("%s imports %s: %s", path, imp, r.why)
					}
				}
			}
		}
	}
}

// Every package has a doc comment.
func TestEveryRoomHasADoc(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{if not .Doc}}{{if .GoFiles}}{{.ImportPath}}{{end}}{{end}}", "../../...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, path := range strings.Fields(string(out)) {
		t.Errorf("%s has no package comment", path)
	}
}

func within(path, room string) bool { return path == room || strings.HasPrefix(path, room+"/") }

func spared(path string, except []string) bool {
	for _, e := range except {
		if within(path, e) {
			return true
		}
	}
	return false
}

func load(t *testing.T) (ps []pkg) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "../../...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			if len(ps) < 10 {
				t.Fatalf("go list found only %d packages", len(ps))
			}
			return ps
		case err != nil:
			t.Fatalf("go list's output: %v", err)
		}
		ps = append(ps, p)
	}
}
