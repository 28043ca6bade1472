// Package metricdocs checks docs/metrics.md against the metrics that are actually served.
//
// May import: Prometheus's client. It is imported by tests only.
package metricdocs

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	described = regexp.MustCompile(`fqName: "([^"]+)"`)
	named     = regexp.MustCompile("`((?:rstore|replicatedstore)_[a-z_]+)`")
)

// Compare fails the test of a package at the root unless the table under the given heading of docs/metrics.md names exactly the
// metrics that the collectors describe.
func Compare(t *testing.T, heading string, collectors ...prometheus.Collector) {
	t.Helper()
	served := map[string]bool{}
	for _, c := range collectors {
		ch := make(chan *prometheus.Desc)
		go func() {
			c.Describe(ch)
			close(ch)
		}()
		for d := range ch {
			served[described.FindStringSubmatch(d.String())[1]] = true
		}
	}
	page, err := os.ReadFile("../docs/metrics.md") // tests run in their package's directory
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/metrics.md has no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var told []string
	for _, line := range strings.Split(section, "\n") {
		if cell, _, ok := strings.Cut(strings.TrimPrefix(line, "|"), "|"); ok {
			for _, m := range named.FindAllStringSubmatch(cell, -1) {
				told = append(told, m[1])
			}
		}
	}
	for name := range served {
		if !slices.Contains(told, name) {
			t.Errorf("docs/metrics.md does not tell of %s", name)
		}
	}
	for _, name := range told {
		if !served[name] {
			t.Errorf("docs/metrics.md tells of %s, which is not served", name)
		}
	}
}
