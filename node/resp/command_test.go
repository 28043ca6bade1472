package resp_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// Commands that are refused between MULTI and EXEC have Redis's flag for that in COMMAND INFO, where clients look.
func TestScansAreNoPartOfATransaction(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	db := redis.NewClient(&redis.Options{Addr: n.Addr, ReadTimeout: testTimeout})
	defer func() { _ = db.Close() }()
	table, err := db.Command(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []string{"DBSIZE", "KEYS *", "RANDOMKEY", "SCAN 0"} {
		w := dial(t, n.Addr)
		w.do("MULTI", "+OK")
		w.do(cmd, "-ERR Command not allowed inside a transaction")
		w.do("EXEC", "-EXECABORT...")
		name, _, _ := strings.Cut(strings.ToLower(cmd), " ")
		if info := table[name]; info == nil || !slices.Contains(info.Flags, "no_multi") {
			t.Errorf("%s: %+v", name, info)
		}
	}
}

// If COMMAND DOCS does not exist, redis-cli falls back to its own help texts, which include the arguments.
func TestNoCommandDocs(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	dial(t, n.Addr).do("COMMAND DOCS", "-ERR unknown subcommand 'DOCS'. Try COMMAND HELP.")
}

var word = regexp.MustCompile("`([A-Z][A-Z |-]*)`")

// named returns the commands that a section of page names, in the command table's notation: in the first cells of its tables, or in its text if
// it has no tables.
func named(t *testing.T, page, heading string) (names []string) {
	t.Helper()
	_, section, found := strings.Cut(page, "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/commands.md has no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		cell, table := strings.CutPrefix(line, "| ")
		if !table {
			continue
		}
		cell, _, _ = strings.Cut(cell, " | ")
		for _, m := range word.FindAllStringSubmatch(cell, -1) {
			names = append(names, strings.ReplaceAll(strings.ToLower(m[1]), " ", "|"))
		}
	}
	return names
}

// docs/commands.md names exactly the commands that are served. None of the commands that it lists as not served is served.
func TestCommandsAreTold(t *testing.T) {
	page, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	n := resptest.Start(t, resp.Options{})
	db := redis.NewClient(&redis.Options{Addr: n.Addr, ReadTimeout: testTimeout})
	defer func() { _ = db.Close() }()
	served, err := db.CommandList(t.Context(), nil).Result()
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, heading := range []string{"Strings", "Keys and expiry", "Transactions", "Connection", "Server", "Cluster"} {
		told = append(told, named(t, string(page), heading)...)
	}
	for _, name := range served {
		if !slices.Contains(told, name) {
			t.Errorf("docs/commands.md does not tell of %s", name)
		}
	}
	for i, name := range told {
		if !slices.Contains(served, name) {
			t.Errorf("docs/commands.md tells of %s, which is not served", name)
		}
		if slices.Contains(told[:i], name) {
			t.Errorf("docs/commands.md tells of %s twice", name)
		}
	}
	absent := named(t, string(page), "Not served")
	if len(absent) < 50 {
		t.Errorf("only %d commands are named that are not served", len(absent))
	}
	for _, name := range absent {
		if slices.Contains(served, name) {
			t.Errorf("docs/commands.md says that %s is not served", name)
		}
	}
}
