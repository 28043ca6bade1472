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

// Bounds of a file of passwords.
const (
	mostPasswords = 8
	// shortestOfMany is for the rest of a password that a tool broke into lines, which is no password anybody chose.
	shortestOfMany = 8 // bytes
)

// readPasswords returns the lines of a file: each is a password, in full, and empty ones are none.
func readPasswords(path string) ([]string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("--password-file: there is no %s (in a cluster: is there the Secret that spec.auth.passwordSecret names, and has it that key?)", path)
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
		return nil, fmt.Errorf("--password-file: %s has %d passwords, one a line, where 1 to %d are allowed", path, len(words), mostPasswords)
	}
	if short := slices.MinFunc(words, func(a, b string) int { return len(a) - len(b) }); len(words) > 1 && len(short) < shortestOfMany {
		return nil, fmt.Errorf("--password-file: %s has %d passwords, one a line, and one of them is shorter than %d bytes: is it one password, broken into lines?",
			path, len(words), shortestOfMany)
	}
	return words, nil
}

// passwordsEvery is how often the file is looked at. It changes where whoever made it does; kubelet takes up to two minutes for that.
const passwordsEvery = 2 * time.Second

// passwords are those of a file; nil: there is none.
type passwords struct {
	path  string
	given *resp.Passwords
	mu    sync.Mutex // one looks at a time
	words []string   // as read last
	// trouble is why the file as it is now is of no use; those before stay.
	trouble atomic.Pointer[string]
}

// openPasswords reads the file at path; "": there is none.
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

// forClients are what clients are asked for; nil: nothing.
func (p *passwords) forClients() *resp.Passwords {
	if p == nil {
		return nil
	}
	return p.given
}

// problem is what a person should know; "" mostly.
func (p *passwords) problem() string {
	if p == nil {
		return ""
	}
	if text := p.trouble.Load(); text != nil {
		return *text
	}
	return ""
}

// watch takes up what the file says until ctx ends.
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
		text := "its passwords stay as they are, for what is to replace them is of no use: " + err.Error()
		if p.problem() != text {
			p.trouble.Store(&text)
			log.Error(err, "passwords stay as they are")
		}
		return
	case !slices.Equal(words, p.words):
		p.words = words
		p.given.Set(words)
		log.Info("passwords were replaced", "number", len(words))
	}
	p.trouble.Store(nil)
}
