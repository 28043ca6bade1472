// Package plots draws measurements as SVG files for documents.
package plots

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/replicatedstore/replicatedstore/hack/bench/internal/results"
	"github.com/replicatedstore/replicatedstore/hack/soak/pauses/outcome"
)

// Write draws everything that was measured into dir, one file each. Files of what was not measured stay as they are.
func Write(dir string, s *results.Study, pauses *outcome.Report) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var errs []error
	add := func(name string, f *figure, err error) {
		if err == nil {
			err = f.write(filepath.Join(dir, name+".svg"))
		}
		errs = append(errs, err)
	}
	for i := range s.Curves {
		c := &s.Curves[i]
		f, err := rates(c)
		add(c.Name, f, err)
	}
	if len(s.Latencies) > 0 {
		f, err := latencies(s.Latencies)
		add("latency", f, err)
	}
	if len(pauses.Faults) > 0 {
		f, err := gaps(pauses)
		add("pauses", f, err)
	}
	return errors.Join(errs...)
}
