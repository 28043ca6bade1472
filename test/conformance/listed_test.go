package conformance

import (
	"strconv"
	"strings"
	"testing"
)

// parse turns lines into commands: words separated by blanks; a word in double quotes has Go's escapes.
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

func TestListed(t *testing.T) {
	for _, protocol := range []string{"2", "3"} {
		p := newPair(t, protocol)
		for name, script := range scripts {
			cmds := parse(t, script)
			p.check(cmds, 1, name)
			p.check(cmds, len(cmds), name)
		}
	}
}
