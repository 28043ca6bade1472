package resp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// spec is an entry of the command table: Redis 7's own description of the command, and the handler that runs it.
type spec struct {
	name    string // includes the container: "client|id"
	arity   int    // number of words, including the name; if negative, the minimum
	flags   string
	cats    string   // ACL categories that do not follow from flags
	tips    string   // space-separated
	keys    []string // "first last step flags... // notes"; last counts from first when positive, from the end when negative
	group   string
	summary string
	mode    mode
	run     func(*call)
	subs    []spec
}

// mode tells where a command runs. With the zero value, modeAuto, the flags decide: write and readonly commands run on data (inside the
// sequencer once the pipeline has written), all others on the connection's goroutine without data.
type mode uint8

const (
	modeAuto    mode = iota
	modeScan         // reads many keys: never runs under the sequencer's lock, but waits for the writes before it, and so must be no_multi
	modeSettled      // needs every earlier command of the pipeline to be settled first, and may block
)

type flags uint32

const (
	flagWrite flags = 1 << iota
	flagReadonly
	flagDenyOOM
	flagAdmin
	flagPubSub
	flagNoScript
	flagBlocking
	flagLoading
	flagStale
	flagSkipMonitor
	flagSkipSlowlog
	flagAsking
	flagFast
	flagNoAuth
	flagNoMandatoryKeys
	flagNoAsyncLoading
	flagNoMulti
	flagMovableKeys
	flagAllowBusy
)

// flagNames holds the names of the flags, in the order of the constants and of COMMAND INFO.
var flagNames = []string{"write", "readonly", "denyoom", "admin", "pubsub", "noscript", "blocking", "loading", "stale",
	"skip_monitor", "skip_slowlog", "asking", "fast", "no_auth", "no_mandatory_keys", "no_async_loading", "no_multi",
	"movablekeys", "allow_busy"}

// categoryNames holds the names of the ACL categories, in the order of COMMAND INFO.
var categoryNames = []string{"keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap",
	"hyperloglog", "geo", "stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection",
	"transaction", "scripting"}

// keySpec names the arguments that are keys: first, first+step, ... up to last.
type keySpec struct {
	first, last, step int
	flags             []string
	notes             string
}

// command is a table entry at run time.
type command struct {
	*spec
	flags  flags
	cats   []string
	tips   []string
	keys   []keySpec
	subs   map[string]*command
	order  []*command // the values of subs, in the table's order
	parent *command

	calls    atomic.Uint64
	micros   atomic.Uint64
	rejected atomic.Uint64
	failed   atomic.Uint64
}

func (c *command) has(f flags) bool { return c.flags&f != 0 }

// onData reports whether c runs on a view or a transaction.
func (c *command) onData() bool { return c.has(flagWrite | flagReadonly) }

// table is the set of commands a server knows.
type table struct {
	byName map[string]*command
	order  []*command
}

func newTable() *table {
	t := &table{byName: map[string]*command{}}
	for _, group := range [][]spec{stringCommands, keyCommands, connectionCommands, serverCommands, clusterCommands} {
		for i := range group {
			c := newCommand(&group[i])
			t.byName[c.name] = c
			t.order = append(t.order, c)
		}
	}
	hidden := newCommand(&spec{name: forwardedCommand, arity: -1, flags: "noscript loading stale fast no_auth", group: "connection", run: forwarded})
	t.byName[hidden.name] = hidden
	hidden = newCommand(&spec{name: shownCommand, arity: -1, flags: "noscript loading stale fast", group: "connection", mode: modeSettled, run: shown})
	t.byName[hidden.name] = hidden
	return t
}

func newCommand(s *spec) *command {
	c := &command{spec: s, tips: strings.Fields(s.tips)}
	for _, name := range strings.Fields(s.flags) {
		i := slices.Index(flagNames, name)
		if i < 0 {
			panic(fmt.Sprintf("command %s: unknown flag %q", s.name, name))
		}
		c.flags |= 1 << i
	}
	for _, text := range s.keys {
		c.keys = append(c.keys, parseKeySpec(text))
	}
	if c.mode == modeScan && !c.has(flagNoMulti) {
		panic(fmt.Sprintf("command %s: scans do not see writes in flight, and cannot be part of a transaction", s.name))
	}
	c.cats = categories(c)
	if s.run == nil && (len(s.subs) == 0 || c.accepts(1)) {
		panic(fmt.Sprintf("command %s: nothing runs it", s.name))
	}
	if len(s.subs) > 0 {
		c.subs = make(map[string]*command, len(s.subs))
	}
	for i := range s.subs {
		sub := newCommand(&s.subs[i])
		sub.parent = c
		_, short, _ := strings.Cut(sub.name, "|")
		c.subs[short] = sub
		c.order = append(c.order, sub)
	}
	return c
}

func parseKeySpec(text string) keySpec {
	text, notes, _ := strings.Cut(text, " // ")
	f := strings.Fields(text)
	var n [3]int
	for i := range n {
		v, err := strconv.Atoi(f[i])
		if err != nil {
			panic(fmt.Sprintf("key spec %q: %v", text, err))
		}
		n[i] = v
	}
	return keySpec{first: n[0], last: n[1], step: n[2], flags: f[3:], notes: notes}
}

// categories returns the ACL categories: those the flags imply (Redis's setImplicitACLCategories) and the table's own.
func categories(c *command) []string {
	set := strings.Fields(c.spec.cats)
	implied := map[string]bool{
		"write": c.has(flagWrite), "read": c.has(flagReadonly), "admin": c.has(flagAdmin), "dangerous": c.has(flagAdmin),
		"pubsub": c.has(flagPubSub), "fast": c.has(flagFast), "slow": !c.has(flagFast), "blocking": c.has(flagBlocking),
	}
	var out []string
	for _, name := range categoryNames {
		if implied[name] || slices.Contains(set, name) {
			out = append(out, name)
		}
	}
	return out
}

// find returns the command that args name, or nil if there is none. Without a subcommand it returns the container.
func (t *table) find(args [][]byte) *command {
	var tmp [32]byte
	c := t.byName[string(lower(tmp[:0], args[0]))]
	if c == nil || c.subs == nil || len(args) == 1 {
		return c
	}
	return c.subs[string(lower(tmp[:0], args[1]))]
}

// named returns the command with that full name ("get", "client|id", in any case), or nil.
func (t *table) named(name []byte) *command {
	first, sub, has := strings.Cut(string(lower(nil, name)), "|")
	c := t.byName[first]
	if c == nil || !has {
		return c
	}
	return c.subs[sub]
}

// accepts reports whether n words (the name included) satisfy the arity.
func (c *command) accepts(n int) bool {
	return n == c.arity || (c.arity < 0 && n >= -c.arity)
}

// lower appends the lower-case ASCII form of b to dst. It cuts off what is longer than any command name; such names will not be found.
func lower(dst, b []byte) []byte {
	for _, ch := range b[:min(len(b), 32)] {
		if ch >= 'A' && ch <= 'Z' {
			ch += 'a' - 'A'
		}
		dst = append(dst, ch)
	}
	return dst
}

// is reports whether arg equals the upper-case word, ignoring ASCII case.
func is(arg []byte, word string) bool {
	if len(arg) != len(word) {
		return false
	}
	for i := range word {
		ch := arg[i]
		if ch >= 'a' && ch <= 'z' {
			ch -= 'a' - 'A'
		}
		if ch != word[i] {
			return false
		}
	}
	return true
}
