package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/replicatedstore/replicatedstore/node/resp"
)

// Limits of a password file.
const (
	mostPasswords = 8
	// shortestOfMany catches a password that a tool broke into several lines: the short remainder is not a password that
	// anybody chose.
	shortestOfMany = 8 // bytes
)

// readPasswords returns the passwords in a file: one per line, the whole line. Empty lines are ignored.
func readPasswords(path string) ([]string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("--password-file: %s does not exist (in a cluster: does the Secret that spec.auth.passwordSecret names exist, and does it have that key?)", path)
	}
	if err != nil {
		return nil, fmt.Errorf("--password-file: %w", err)
	}
	var words []string
	for line := range strings.Lines(string(b)) {
		word := strings.TrimRight(line, "\r\n")
		if len(word) > resp.LongestPassword {
			return nil, fmt.Errorf("--password-file: a line of %s is longer than %d bytes", path, resp.LongestPassword)
		}
		if word != "" {
			words = append(words, word)
		}
	}
	if len(words) == 0 || len(words) > mostPasswords {
		return nil, fmt.Errorf("--password-file: %s has %d passwords, one per line, but 1 to %d are allowed", path, len(words), mostPasswords)
	}
	if short := slices.MinFunc(words, func(a, b string) int { return len(a) - len(b) }); len(words) > 1 && len(short) < shortestOfMany {
		return nil, fmt.Errorf("--password-file: %s has %d passwords, one per line, and one of them is shorter than %d bytes: is it one password broken into lines?",
			path, len(words), shortestOfMany)
	}
	return words, nil
}

// passwordsEvery is how often the file is read. Where it is a mounted Secret, kubelet takes up to two minutes to change
// it.
const passwordsEvery = 2 * time.Second

// passwords are the passwords from a file. A nil *passwords means that there is no file.
type passwords struct {
	path  string
	given *resp.Passwords
	mu    sync.Mutex // held by look
	words []string   // as last read successfully
	// trouble is why the file in its present form cannot be used; the previous passwords stay in force. nil: there is
	// none.
	trouble atomic.Pointer[string]
}

// openPasswords reads the file at path; it returns nil if path is "".
func openPasswords(path string) (*passwords, error) {
	if path == "" {
		return nil, nil
	}
	words, err := readPasswords(path)
	if err != nil {
		return nil, err
	}
	return &passwords{path: path, words: words, given: resp.NewPasswords(words...)}, nil
}

// forClients returns the passwords that clients must give one of; nil if none is needed.
func (p *passwords) forClients() *resp.Passwords {
	if p == nil {
		return nil
	}
	return p.given
}

// problem returns what a person should know; usually "".
func (p *passwords) problem() string {
	if p == nil {
		return ""
	}
	if text := p.trouble.Load(); text != nil {
		return *text
	}
	return ""
}

// watch puts changes of the file in force until ctx ends.
func (p *passwords) watch(ctx context.Context, log logr.Logger) {
	t := time.NewTicker(passwordsEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			p.look(log)
		}
	}
}

func (p *passwords) look(log logr.Logger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	words, err := readPasswords(p.path)
	switch {
	case err != nil:
		text := "its passwords stay unchanged, because the new ones cannot be used: " + err.Error()
		if p.problem() != text {
			p.trouble.Store(&text)
			log.Error(err, "keeping the current passwords: the new ones cannot be used")
		}
		return
	case !slices.Equal(words, p.words):
		p.words = words
		p.given.Set(words)
		log.Info("replaced the passwords", "number", len(words))
	}
	p.trouble.Store(nil)
}
