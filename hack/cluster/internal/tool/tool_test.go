package tool

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func source(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestKeyFollowsSourcesAndFlags(t *testing.T) {
	base := map[string]string{"go.mod": "module m", "main.go": "package main"}
	first, err := key(source(t, base), []string{"-trimpath"})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		files map[string]string
		flags []string
		same  bool
	}{
		"another clone":     {base, []string{"-trimpath"}, true},
		"a test was added":  {map[string]string{"go.mod": "module m", "main.go": "package main", "a_test.go": "x"}, []string{"-trimpath"}, true},
		"a source changed":  {map[string]string{"go.mod": "module m", "main.go": "package other"}, []string{"-trimpath"}, false},
		"a file was added":  {map[string]string{"go.mod": "module m", "main.go": "package main", "go.sum": ""}, []string{"-trimpath"}, false},
		"other build flags": {base, nil, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := key(source(t, tt.files), tt.flags)
			if err != nil || (got == first) != tt.same {
				t.Fatalf("key %s, first %s, want same %v, err %v", got, first, tt.same, err)
			}
		})
	}
}

func TestOnceBuildsOnceForManyCallers(t *testing.T) {
	c := &Cache{Dir: filepath.Join(t.TempDir(), "tools"), Log: &bytes.Buffer{}}
	src := source(t, map[string]string{"go.mod": "module m"})
	var builds int // guarded by the cache's own lock
	build := func(_ context.Context, out string) error {
		builds++
		return os.WriteFile(filepath.Join(out, "program"), []byte("x"), 0o755)
	}
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			dir, err := c.once(t.Context(), "m", src, nil, build)
			if err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(dir, "program")); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if builds != 1 {
		t.Errorf("built %d times", builds)
	}
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	c := &Cache{Dir: filepath.Join(t.TempDir(), "tools"), Log: &bytes.Buffer{}}
	src := source(t, map[string]string{"go.mod": "module m"})
	broken := errors.New("does not compile")
	if _, err := c.once(t.Context(), "m", src, nil, func(context.Context, string) error { return broken }); !errors.Is(err, broken) {
		t.Fatalf("err = %v", err)
	}
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			t.Errorf("left %s", e.Name())
		}
	}
	if _, err := c.once(t.Context(), "m", src, nil, func(context.Context, string) error { return nil }); err != nil {
		t.Errorf("build after a failed one: %v", err)
	}
}

func TestProgress(t *testing.T) {
	var log bytes.Buffer
	p := newProgress(&log, "kube")
	tail := p.follow(strings.NewReader("go: downloading k8s.io/api v0.37.2\nk8s.io/api/core/v1\nk8s.io/client-go/rest\n" +
		"# k8s.io/broken\nbroken.go:1:1: undefined: x\n"))
	p.total(2888)
	if got, want := p.line(95*time.Second), "  kube: 1m35s, 2 packages compiled of at most 2888 (k8s.io/client-go/rest)"; got != want {
		t.Errorf("line %q, want %q", got, want)
	}
	if want := []string{"# k8s.io/broken", "broken.go:1:1: undefined: x"}; !slices.Equal(tail, want) {
		t.Errorf("tail = %q, want %q", tail, want)
	}
	p.finish(errors.New("broken"))
	if !strings.Contains(log.String(), "kube: failed in") {
		t.Errorf("log:\n%s", log.String())
	}
}

func TestPathRefusesUnknownPrograms(t *testing.T) {
	c := &Cache{Dir: t.TempDir(), Log: &bytes.Buffer{}}
	if _, err := c.Path(t.Context(), "docker"); err == nil {
		t.Fatal("want an error")
	}
}

// A flag sets the version that the programs report. It must be the version that the module pins.
func TestKubeVersionIsThePinnedOne(t *testing.T) {
	mod, err := os.ReadFile("../../../tools/kube/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(mod, []byte("k8s.io/kubernetes v"+kubeVersion+" ")) {
		t.Fatalf("hack/tools/kube/go.mod does not pin Kubernetes v%s", kubeVersion)
	}
	for _, m := range Modules() {
		if _, err := os.Stat(filepath.Join("../../../tools", m.Name, "go.sum")); err != nil {
			t.Errorf("module %s: %v", m.Name, err)
		}
	}
}
