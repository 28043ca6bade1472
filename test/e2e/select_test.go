//go:build e2e

package e2e

import (
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/onsi/ginkgo/v2/types"
)

// Labels of specs and containers.
const (
	labelQuick    = "quick"    // part of `make test`
	labelLong     = "long"     // left to `make e2e-long`
	labelTogether = "together" // on a container whose specs depend on the preceding ones
)

var (
	caseFlag = flag.String("case", "", "run only the cases that this regular expression, or this name, matches")
	partFlag = flag.String("part", "", "i/n: run only the i-th of n parts")
)

// unit is what can only be selected as a whole: a spec, or a container whose specs depend on each other.
type unit struct{ specs []string }

// choose turns the flags into Ginkgo's focus. all is a preview with the label filter applied, unless a case is named: a name takes
// precedence. An empty selection is an error, since it would pass without testing anything.
func choose(all types.Report, name, part string) ([]string, error) {
	units := unitsOf(all, name != "")
	if name != "" {
		var err error
		if units, err = named(units, name); err != nil {
			return nil, err
		}
	}
	if part != "" {
		var err error
		if units, err = partOf(units, part); err != nil {
			return nil, err
		}
	}
	if len(units) == 0 {
		return nil, fmt.Errorf("no case is selected")
	}
	if name == "" && part == "" {
		return nil, nil
	}
	var focus []string
	for _, u := range units {
		for _, s := range u.specs {
			focus = append(focus, " "+regexp.QuoteMeta(s)+"$")
		}
	}
	return focus, nil
}

func unitsOf(all types.Report, filtered bool) []unit {
	var units []unit
	inside := ""
	for _, s := range all.SpecReports {
		if s.LeafNodeType != types.NodeTypeIt || !filtered && s.State == types.SpecStateSkipped {
			continue
		}
		container := ""
		if slices.Contains(slices.Concat(s.ContainerHierarchyLabels...), labelTogether) {
			container = strings.Join(s.ContainerHierarchyTexts, " ")
		}
		if container == "" || container != inside {
			units = append(units, unit{})
		}
		inside = container
		last := &units[len(units)-1]
		last.specs = append(last.specs, s.FullText())
	}
	return units
}

// named keeps the units with a spec whose full name is name or, if there is none, matches it.
func named(units []unit, name string) ([]unit, error) {
	keep := func(match func(string) bool) []unit {
		var out []unit
		for _, u := range units {
			if slices.ContainsFunc(u.specs, match) {
				out = append(out, u)
			}
		}
		return out
	}
	if exact := keep(func(s string) bool { return s == name }); len(exact) > 0 {
		return exact, nil
	}
	re, err := regexp.Compile("(?i)" + name)
	if err != nil {
		return nil, fmt.Errorf("-case: %w", err)
	}
	out := keep(re.MatchString)
	if len(out) == 0 {
		var all strings.Builder
		for _, u := range units {
			all.WriteString("\n  " + strings.Join(u.specs, "\n  "))
		}
		return nil, fmt.Errorf("-case %q matches none of:%s", name, all.String())
	}
	return out, nil
}

// partOf deals out the units in turn, so that long or similar ones are spread over the parts.
func partOf(units []unit, part string) ([]unit, error) {
	var i, n int
	if _, err := fmt.Sscanf(part, "%d/%d", &i, &n); err != nil || i < 1 || i > n {
		return nil, fmt.Errorf("-part %q: want i/n with 1 <= i <= n", part)
	}
	var out []unit
	for k, u := range units {
		if k%n == i-1 {
			out = append(out, u)
		}
	}
	return out, nil
}
