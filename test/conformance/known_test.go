package conformance

import "strings"

// difference is an intended difference between replies.
type difference struct {
	reason  string
	applies func(cmd command, redis, node string) bool
}

// named matches commands by their first words, ignoring case.
func named(words ...string) func(command, string, string) bool {
	return func(cmd command, _, _ string) bool { return startsWith(cmd, words) }
}

func startsWith(cmd command, words []string) bool {
	if len(cmd) < len(words) {
		return false
	}
	for i, w := range words {
		if !strings.EqualFold(cmd[i], w) {
			return false
		}
	}
	return true
}

// in reports whether reply is one of those in of.
func in(reply string, of ...string) bool {
	for _, o := range of {
		if reply == o {
			return true
		}
	}
	return false
}

const (
	raw    = "$3\r\nraw\r\n"
	embstr = "$6\r\nembstr\r\n"
	number = "$3\r\nint\r\n"
)

var knownDifferences = []difference{
	{"the connection's number, the version's build and the like name one server", named("HELLO")},
	{"connections are numbered by each server for itself", named("CLIENT", "ID")},
	{"it describes one server's connections", named("CLIENT", "INFO")},
	{"it describes one server's connections", named("CLIENT", "LIST")},
	{"the clock is read at different moments", named("TIME")},
	{"any key may be chosen", func(cmd command, redis, node string) bool {
		return startsWith(cmd, []string{"RANDOMKEY"}) && strings.HasPrefix(redis, "$") && strings.HasPrefix(node, "$")
	}},
	{"the order and the cursor are the server's own; TestScan compares whole scans", func(cmd command, redis, node string) bool {
		return startsWith(cmd, []string{"SCAN"}) && strings.HasPrefix(redis, "*2") && strings.HasPrefix(node, "*2")
	}},
	{"a value is stored as its bytes; how it came about (APPEND, SETRANGE, INCRBYFLOAT leave raw or embstr) is not kept",
		func(cmd command, redis, node string) bool {
			return startsWith(cmd, []string{"OBJECT", "ENCODING"}) && in(redis, raw, embstr, number) && in(node, raw, embstr, number)
		}},
	{"there are no shared integers", named("OBJECT", "REFCOUNT")},
	{"access times are not kept, because nothing is evicted by them", func(cmd command, redis, node string) bool {
		return startsWith(cmd, []string{"OBJECT", "IDLETIME"}) && strings.HasPrefix(redis, ":") && strings.HasPrefix(node, "-ERR idle time is not tracked")
	}},
	{"bytes in memory there, bytes as stored here", func(cmd command, redis, node string) bool {
		return startsWith(cmd, []string{"MEMORY", "USAGE"}) && strings.HasPrefix(redis, ":") && strings.HasPrefix(node, ":")
	}},
	{"clients configured for replicas send them first, also to stores without cluster mode", named("READONLY")},
	{"as READONLY", named("READWRITE")},
	{"a key given an expiry that has passed is removed at once; Redis counts it until it is found", func(cmd command, redis, node string) bool {
		return startsWith(cmd, []string{"DBSIZE"}) && integer(node) >= 0 && integer(node) < integer(redis)
	}},
	{"as DBSIZE", func(cmd command, redis, node string) bool {
		return startsWith(cmd, []string{"MEMORY", "USAGE"}) && integer(redis) > 0 && in(node, "_\r\n", "$-1\r\n")
	}},
	{"DEBUG is off unless enabled, as in Redis, but the binary has no switch for it", func(cmd command, _, node string) bool {
		return startsWith(cmd, []string{"DEBUG"}) && strings.HasPrefix(node, "-ERR DEBUG command not allowed.")
	}},
	{"help lists what exists here", func(cmd command, redis, node string) bool {
		return len(cmd) == 2 && strings.EqualFold(cmd[1], "HELP") && strings.HasPrefix(redis, "*") && strings.HasPrefix(node, "*")
	}},
	{"scans do not see writes in flight, so they cannot be part of a transaction", func(_ command, redis, node string) bool {
		return redis == "+QUEUED\r\n" && node == "-ERR Command not allowed inside a transaction\r\n"
	}},
}
