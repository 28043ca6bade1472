package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// docs/performance.md and docs/plots show the run that is kept beside them.
func TestDocumentsShowTheRunThatIsKept(t *testing.T) {
	docs := filepath.Join("..", "..", "docs")
	page, err := os.ReadFile(filepath.Join(docs, "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	again := filepath.Join(dir, "performance.md")
	if err := os.WriteFile(again, page, 0o644); err != nil {
		t.Fatal(err)
	}
	c := curvesCommand()
	c.SetOut(new(bytes.Buffer))
	c.SetArgs([]string{
		"table", filepath.Join(docs, "plots", "curves.json"), "--pauses", filepath.Join(docs, "plots", "pauses.json"), "--doc", again, "--plots", dir,
	})
	if err := c.Execute(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(again); err != nil || !bytes.Equal(got, page) {
		t.Errorf("docs/performance.md does not show docs/plots/curves.json (%v): write it anew, as it says", err)
	}
	drawn, err := filepath.Glob(filepath.Join(dir, "*.svg"))
	if err != nil || len(drawn) < len(curvePlan())+2 { // plus latencies and pauses
		t.Errorf("%d plots were drawn: %v", len(drawn), err)
	}
	for _, path := range drawn {
		name := filepath.Base(path)
		if _, err := os.Stat(filepath.Join(docs, "plots", name)); err != nil || !strings.Contains(string(page), "](plots/"+name+")") {
			t.Errorf("docs/performance.md does not show %s: %v", name, err)
		}
	}
}
