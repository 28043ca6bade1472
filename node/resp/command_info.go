package resp

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

func commandAll(c *call) {
	c.w.array(len(c.srv.table.order))
	for _, cmd := range c.srv.table.order {
		c.writeInfo(cmd)
	}
}

func commandCount(c *call) { c.w.integer(int64(len(c.srv.table.order))) }

func commandInfo(c *call) {
	if len(c.args) == 2 {
		commandAll(c)
		return
	}
	c.w.array(len(c.args) - 2)
	for _, name := range c.args[2:] {
		if c.w.over {
			return
		}
		cmd, at := c.srv.table.named(name), c.w.mark()
		if cmd != nil {
			c.writeInfo(cmd)
		} else {
			c.w.null()
		}
		if !c.affords(len(c.w.buf) - at) {
			c.w.rewind(at)
		}
	}
}

func (c *call) writeInfo(cmd *command) {
	w := c.w
	first, last, step := cmd.legacyKeys()
	w.array(10)
	w.text(cmd.name)
	w.integer(int64(cmd.arity))
	var set []string
	for i, name := range flagNames {
		if cmd.has(1 << i) {
			set = append(set, name)
		}
	}
	c.writeStatusSet(set, "")
	w.integer(int64(first))
	w.integer(int64(last))
	w.integer(int64(step))
	c.writeStatusSet(cmd.cats, "@")
	w.set(len(cmd.tips))
	for _, tip := range cmd.tips {
		w.text(tip)
	}
	w.set(len(cmd.keys))
	for _, k := range cmd.keys {
		c.writeKeySpec(k)
	}
	if cmd.subs == nil {
		w.set(0)
		return
	}
	w.array(len(cmd.order))
	for _, sub := range cmd.order {
		c.writeInfo(sub)
	}
}

func (c *call) writeStatusSet(names []string, prefix string) {
	c.w.set(len(names))
	for _, name := range names {
		c.w.simple(prefix + name)
	}
}

func (c *call) writeKeySpec(k keySpec) {
	w := c.w
	if k.notes != "" {
		w.dict(4)
		w.text("notes")
		w.text(k.notes)
	} else {
		w.dict(3)
	}
	w.text("flags")
	c.writeStatusSet(k.flags, "")
	w.text("begin_search")
	w.dict(2)
	w.text("type")
	w.text("index")
	w.text("spec")
	w.dict(1)
	w.text("index")
	w.integer(int64(k.first))
	w.text("find_keys")
	w.dict(2)
	w.text("type")
	w.text("range")
	w.text("spec")
	w.dict(3)
	w.text("lastkey")
	w.integer(int64(k.last))
	w.text("keystep")
	w.integer(int64(k.step))
	w.text("limit")
	w.integer(0)
}

// legacyKeys merges the key specs into the single range that the oldest form of COMMAND shows. All results are zero if there are no keys. A
// negative last counts from the end.
func (c *command) legacyKeys() (first, last, step int) {
	for i, k := range c.keys {
		end := k.last
		if end >= 0 {
			end += k.first
		}
		if i == 0 {
			first, last, step = k.first, end, k.step
		} else {
			first, last = min(first, k.first), max(last, end)
		}
	}
	return first, last, step
}

// keyAt is the index of a key among a command's arguments, with the flags of its key spec.
type keyAt struct {
	index int
	flags []string
}

// keysOf returns where the keys in args are. It returns false if args end too early.
func (c *command) keysOf(args [][]byte) (out []keyAt, ok bool) {
	for _, k := range c.keys {
		last := k.first + k.last
		if k.last < 0 {
			last = len(args) + k.last
		}
		if last < k.first || last >= len(args) {
			return nil, false
		}
		flags := k.flags
		if c.name == "set" && !slices.ContainsFunc(args[3:], func(arg []byte) bool { return is(arg, "GET") }) {
			flags = []string{"OW", "update"} // without GET, variable_flags leaves these
		} else if slices.Contains(flags, "variable_flags") {
			flags = slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return f == "variable_flags" })
		}
		for i := k.first; i <= last; i += k.step {
			out = append(out, keyAt{i, flags})
		}
	}
	return out, true
}

func commandGetkeys(c *call)         { c.getKeys(false) }
func commandGetkeysandflags(c *call) { c.getKeys(true) }

func (c *call) getKeys(withFlags bool) {
	args := c.args[2:]
	cmd := c.srv.table.find(args)
	switch {
	case cmd == nil:
		c.w.fail("ERR Invalid command specified")
		return
	case len(cmd.keys) == 0:
		c.w.fail("ERR The command has no key arguments")
		return
	case !cmd.accepts(len(args)):
		c.w.fail("ERR Invalid number of arguments specified for command")
		return
	}
	keys, ok := cmd.keysOf(args)
	if !ok {
		c.w.fail("ERR Invalid arguments specified for command")
		return
	}
	c.w.array(len(keys))
	for _, k := range keys {
		if withFlags {
			c.w.array(2)
		}
		c.w.bulk(args[k.index])
		if withFlags {
			c.writeStatusSet(k.flags, "")
		}
	}
}

func commandList(c *call) {
	keep := func(*command) bool { return true }
	switch args := c.args[2:]; {
	case len(args) == 0:
	case len(args) != 3 || !is(args[0], "FILTERBY"):
		c.w.fail(errSyntax)
		return
	case is(args[1], "MODULE"):
		keep = func(*command) bool { return false }
	case is(args[1], "ACLCAT"):
		keep = func(cmd *command) bool { return slices.Contains(cmd.cats, string(bytes.ToLower(args[2]))) }
	case is(args[1], "PATTERN"):
		keep = func(cmd *command) bool { return globMatch(args[2], []byte(cmd.name), true) }
	default:
		c.w.fail(errSyntax)
		return
	}
	at, n := c.w.mark(), 0
	var list func([]*command)
	list = func(cmds []*command) {
		for _, cmd := range cmds {
			if keep(cmd) {
				c.w.text(cmd.name)
				n++
			}
			list(cmd.order)
		}
	}
	list(c.srv.table.order)
	c.w.insertArray(at, n)
}

// help answers "<CONTAINER> HELP" from the command table.
func help(c *call) {
	name := strings.ToUpper(c.cmd.parent.spec.name)
	lines := []string{name + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"}
	for _, sub := range c.cmd.parent.order {
		if sub == c.cmd {
			continue
		}
		_, short, _ := strings.Cut(sub.name, "|")
		lines = append(lines, strings.ToUpper(short), fmt.Sprintf("    %s.", sub.summary))
	}
	lines = append(lines, "HELP", "    Print this help.")
	c.w.array(len(lines))
	for _, line := range lines {
		c.w.simple(line)
	}
}
