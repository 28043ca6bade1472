package tool

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// reportEvery is the time between two lines of progress.
const reportEvery = 10 * time.Second

// progress condenses the output of go build -v, which is one line per compiled package, into occasional lines.
type progress struct {
	log     io.Writer
	label   string
	started time.Time
	done    chan struct{}

	mu         sync.Mutex // guards the fields below
	packages   int        // number of packages in the program; 0 while unknown
	compiled   int
	downloaded int
	latest     string
}

func newProgress(log io.Writer, label string) *progress {
	p := &progress{log: log, label: label, started: time.Now(), done: make(chan struct{})}
	fmt.Fprintf(log, "  %s: building from source; later starts reuse the result\n", label)
	go func() {
		ticker := time.NewTicker(reportEvery)
		defer ticker.Stop()
		for {
			select {
			case <-p.done:
				return
			case <-ticker.C:
				fmt.Fprintln(p.log, p.line(time.Since(p.started)))
			}
		}
	}()
	return p
}

func (p *progress) total(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.packages = n
}

// follow reads the compiler's output to its end and returns the last lines that were neither packages nor downloads.
func (p *progress) follow(r io.Reader) (tail []string) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		p.mu.Lock()
		switch {
		case strings.HasPrefix(line, "go: downloading "):
			p.downloaded++
			p.latest = strings.TrimPrefix(line, "go: ")
		case line != "" && !strings.ContainsAny(line, " \t:#"):
			p.compiled++
			p.latest = line
		default:
			tail = append(tail, line)
			tail = tail[max(0, len(tail)-20):]
		}
		p.mu.Unlock()
	}
	return tail
}

// line describes the state after elapsed. The compiler never prints packages found in the build cache, so the remainder is a
// bound, not an estimate.
func (p *progress) line(elapsed time.Duration) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "  %s: %s", p.label, elapsed.Round(time.Second))
	if p.downloaded > 0 && p.compiled == 0 {
		fmt.Fprintf(&b, ", %d modules downloaded", p.downloaded)
	}
	fmt.Fprintf(&b, ", %d packages compiled", p.compiled)
	if p.packages > 0 {
		fmt.Fprintf(&b, " of at most %d", p.packages)
	}
	if p.packages > 0 && p.compiled >= p.packages-p.packages/50 {
		b.WriteString(", linking")
	} else if p.latest != "" {
		fmt.Fprintf(&b, " (%s)", p.latest)
	}
	return b.String()
}

func (p *progress) finish(err error) {
	close(p.done)
	outcome := "built"
	if err != nil {
		outcome = "failed"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.log, "  %s: %s in %s, %d packages compiled\n", p.label, outcome,
		time.Since(p.started).Round(time.Second), p.compiled)
}

// countPackages returns the number of packages in the build, or 0 if it cannot be determined.
func countPackages(ctx context.Context, dir string, buildArgs, packages []string) int {
	args := []string{"list", "-deps"}
	if slices.Contains(buildArgs, "-trimpath") {
		args = append(args, "-trimpath")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false")
	out, err := cmd.Output()
	if err != nil {
		return 0
	}
	return bytes.Count(out, []byte("\n"))
}
