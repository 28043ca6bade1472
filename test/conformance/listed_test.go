package conformance

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// parse converts lines into commands. Words are separated by blanks; a word in double quotes may have Go's escapes.
func parse(t testing.TB, script string) []command {
	t.Helper()
	var out []command
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var cmd command
		for line != "" {
			if line[0] != '"' {
				word, rest, _ := strings.Cut(line, " ")
				cmd, line = append(cmd, word), strings.TrimLeft(rest, " ")
				continue
			}
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			word, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			cmd, line = append(cmd, word), strings.TrimLeft(line[len(quoted):], " ")
		}
		out = append(out, cmd)
	}
	return out
}

// TestListed runs the lists of commands in testdata, for cases that random commands would rarely hit. Each starts on empty
// servers.
func TestListed(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("found only %q, %v", files, err)
	}
	for _, protocol := range []string{"2", "3"} {
		p := newPair(t, protocol)
		for _, file := range files {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cmds := parse(t, string(script))
			p.check(cmds, 1, file)
			p.check(cmds, len(cmds), file)
		}
	}
}
