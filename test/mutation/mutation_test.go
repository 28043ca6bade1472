package mutation

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	run   = flag.Bool("mutation.run", false, "build and run the simulation with every rule broken in turn (minutes)")
	only  = flag.String("mutation.only", "", "run only the mutations whose names contain this")
	seeds = flag.Int("mutation.seeds", 6000, "how many seeds may pass before a mutation counts as not found")
)

const root = "../.."

// apply returns the mutated sources, by file.
func (m mutation) apply() (map[string]string, error) {
	out := map[string]string{}
	for _, e := range m.edits {
		source, ok := out[e.file]
		if !ok {
			b, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return nil, err
			}
			source = string(b)
		}
		if n := strings.Count(source, e.was); n != 1 || e.was == e.is {
			return nil, fmt.Errorf("%s holds %d times what %q replaces, or nothing is changed", e.file, n, m.name)
		}
		out[e.file] = strings.Replace(source, e.was, e.is, 1)
	}
	return out, nil
}

// The table must keep fitting the source: when a rule is rewritten, its mutation must be rewritten, too.
func TestMutationsApply(t *testing.T) {
	names := map[string]bool{}
	for _, m := range mutations {
		if _, err := m.apply(); err != nil {
			t.Error(err)
		}
		if names[m.name] || len(m.edits) == 0 {
			t.Errorf("%q is there twice, or changes nothing", m.name)
		}
		names[m.name] = true
	}
}

// The simulation finds every broken rule. `make mutation` runs this test, and prints the table in docs/testing.md.
func TestMutationsAreFound(t *testing.T) {
	if !*run {
		return // takes minutes of compiling, so it has its own target
	}
	table := "| broken | rule | seeds to find it | what noticed |\n| --- | --- | --- | --- |\n"
	for _, m := range mutations {
		if !strings.Contains(m.name, *only) {
			continue
		}
		began := time.Now()
		seed, saw, err := m.find(t.TempDir())
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		if seed == 0 {
			t.Errorf("%s: not found in %d seeds", m.name, *seeds)
		}
		t.Logf("%s: %v, seed %d: %s", m.name, time.Since(began).Round(time.Second), seed, saw)
		table += m.row(seed, saw)
	}
	fmt.Print(table)
}

// row returns the mutation's line of the table.
func (m mutation) row(seed int, saw string) string {
	count, what := strconv.Itoa(seed), noticed(saw)
	if seed == 0 {
		count, what = fmt.Sprintf("not found in %d", *seeds), ""
	}
	return fmt.Sprintf("| %s | %s | %s | %s |\n", m.name, m.breaks, count, what)
}

var invariant = regexp.MustCompile(`(?:^|: )(\d+): `)

// noticed returns the table's word for what the simulation saw.
func noticed(saw string) string {
	if n := invariant.FindStringSubmatch(saw); n != nil {
		return "invariant " + n[1]
	}
	what, _, _ := strings.Cut(saw, ":")
	return strings.TrimSpace(what)
}

func TestWhatNoticedIsNamed(t *testing.T) {
	for saw, want := range map[string]string{
		"4: orders-1/data-2 acknowledges 7@2 in epoch 2, held by too few": "invariant 4",
		"sim: call at 14.9s: 1: epoch 5 is led by orders-2.6":             "invariant 1",
		"no write is acknowledged although the store is whole: record":    "no write is acknowledged although the store is whole",
	} {
		if got := noticed(saw); got != want {
			t.Errorf("%q is named %q, not %q", saw, got, want)
		}
	}
}

var found = regexp.MustCompile(`(?m)^\s*(?:\S+: )?seed (\d+): (.*)$`)

// find builds the simulation with the mutation applied and runs it. It returns seed 0 if nothing was found.
func (m mutation) find(dir string) (seed int, saw string, err error) {
	bin, err := m.build(dir)
	if err != nil {
		return 0, "", err
	}
	cmd := exec.Command(bin, "-test.run=^TestSimulation$", "-test.timeout=20m", fmt.Sprintf("-sim.seeds=%d", *seeds))
	cmd.Dir = filepath.Join(root, "test/sim")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch hit := found.FindSubmatch(out); {
	case err == nil:
		return 0, "", nil
	case !errors.As(err, &exit):
		return 0, "", err
	case hit == nil:
		return 0, "", fmt.Errorf("the simulation ended without naming a seed:\n%s", tail(out))
	default:
		_, err := fmt.Sscan(string(hit[1]), &seed)
		return seed, string(hit[2]), err
	}
}

func (m mutation) build(dir string) (bin string, err error) {
	sources, err := m.apply()
	if err != nil {
		return "", err
	}
	project, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for file, source := range sources {
		mutated := filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(mutated, []byte(source), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(project, file)] = mutated
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, b, 0o600); err != nil {
		return "", err
	}
	bin = filepath.Join(dir, "sim.test")
	// go vet would reject some mutations for the unused variables that they leave.
	cmd := exec.Command("go", "test", "-c", "-trimpath", "-vet=off", "-overlay", overlay, "-o", bin, "./test/sim")
	cmd.Dir = project
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, tail(out))
	}
	return bin, nil
}

func tail(out []byte) string { return string(out[max(0, len(out)-4000):]) }
