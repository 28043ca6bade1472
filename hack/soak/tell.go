package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/test/e2e/stage"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// teller prints what happens and keeps it in the evidence. It is safe for concurrent use.
type teller struct {
	begun       time.Time
	dir         string
	files       []*os.File
	tools       io.Writer // for the output of the tools
	leaderships io.Writer
	faults      *json.Encoder

	mu      sync.Mutex
	out     io.Writer
	current string // active fault
}

func newTeller(out io.Writer, dir string, begun time.Time) (*teller, error) {
	t := &teller{begun: begun, dir: dir}
	open := map[string]*os.File{}
	for _, name := range []string{"run.log", "tools.log", "leaderships.jsonl", "faults.jsonl"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.close()
			return nil, fmt.Errorf("keep the evidence: %w", err)
		}
		open[name], t.files = f, append(t.files, f)
	}
	t.out = io.MultiWriter(out, open["run.log"])
	t.tools, t.leaderships, t.faults = open["tools.log"], open["leaderships.jsonl"], json.NewEncoder(open["faults.jsonl"])
	return t, nil
}

func (t *teller) close() {
	for _, f := range t.files {
		f.Close()
	}
}

func (t *teller) line(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, "%s %s  %s\n", time.Now().Format(time.TimeOnly), clock(time.Since(t.begun)), fmt.Sprintf(format, args...))
}

// clock formats a duration as minutes and seconds.
func clock(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	return fmt.Sprintf("%3d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

// fault sets what is currently broken, for the progress lines; "" means nothing.
func (t *teller) fault(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current = what
}

// result prints how a fault affected the clients.
func (t *teller) result(x injected) {
	for n, s := range x.Stores {
		text := "writes went on as ever"
		if s.Gap > 0 {
			text = fmt.Sprintf("%v without a write, again after %v", s.Gap.Round(10*time.Millisecond), s.Again.Round(10*time.Millisecond))
		}
		t.line("   %-9s %s; errors: %s", storeNames[n], text, counts(s.Errors))
	}
	if err := t.faults.Encode(x); err != nil {
		t.line("keep the fault: %v", err)
	}
}

func counts(m map[string]int64) string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(m)) {
		if m[kind] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", kind, m[kind]))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// diagnose saves what is known of stores that are not as they should be.
func (t *teller) diagnose(ctx context.Context, all []*stage.Store) {
	f, err := os.Create(filepath.Join(t.dir, "diagnosis.txt"))
	if err != nil {
		t.line("keep the diagnosis: %v", err)
		return
	}
	for _, s := range all {
		s.Diagnose(ctx, f)
	}
	if err := f.Close(); err != nil {
		t.line("keep the diagnosis: %v", err)
	}
}

// progressPeriod is the time between two lines of progress.
const progressPeriod = 10 * time.Second

// progress prints a line every progressPeriod until stop is called.
func (s *soak) progress(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		last := time.Now()
		before, readsBefore, _ := s.feel(last)
		for {
			if ledger.Sleep(ctx, progressPeriod); ctx.Err() != nil {
				return
			}
			now := time.Now()
			f, reads, err := s.feel(last)
			if err != nil {
				s.tell.line("ask the load: %v", errors.Unwrap(err))
				continue
			}
			s.progressLine(now.Sub(last), before, f, reads-readsBefore)
			before, readsBefore, last = f, reads, now
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

func (s *soak) progressLine(took time.Duration, before, f [stores]felt, reads int64) {
	left := time.Until(s.begun.Add(time.Duration(s.minutes) * time.Minute))
	var b strings.Builder
	fmt.Fprintf(&b, "left %s", clock(left))
	for n, name := range storeNames {
		at := s.watcher.Now(name)
		fmt.Fprintf(&b, " | %s e%d %s %s %.0f w/s gap %.1fs", name, at.Epoch, at.Leader, at.Phase,
			float64(f[n].acknowledged-before[n].acknowledged)/took.Seconds(), f[n].gap.Length().Seconds())
	}
	fmt.Fprintf(&b, " | %.0f reads/s", float64(reads)/took.Seconds())
	s.tell.mu.Lock()
	current := s.tell.current
	s.tell.mu.Unlock()
	if current != "" {
		fmt.Fprintf(&b, " | %s", current)
	}
	s.tell.line("%s", b.String())
}
