package conformance

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Words for random commands. There are few keys, so that commands interact. Times are far in the future or long past, so that
// nothing expires on only one of the servers.
var (
	someKeys = []string{"a", "b", "c", "{tag}1", "{tag}2", "k\x00\xff\r\n", "", "key with blanks", "ключ"}
	values   = []string{"", "v", "0", "1", "-1", "10", "3.5", "-0.25", "1e3", "abc", "hello world", "\x00\x01\r\n\xff",
		"9223372036854775807", "-9223372036854775808", "9223372036854775808", "007", " 1", "0x10", "inf", "nan",
		strings.Repeat("x", 44), strings.Repeat("y", 45), strings.Repeat("long", 5000)}
	numbers = []string{"0", "1", "-1", "2", "5", "10", "100", "-100", "1.5", "x", "", "9223372036854775807",
		"-9223372036854775808", "9223372036854775808", "4611686018427387904", "+1", "01", "-0", "1048570", "1048577"}
	floats  = []string{"1", "0.1", "-0.1", "1.5e3", "3.0", "1e-10", "100000000000000000000", "x", "", "inf", "1e5000", "0x1", "1.17"}
	seconds = []string{far, far, far, "0", "-1", "x", "9223372036854775807", "9223372036854775", "-9223372036854775808", "1.5"}
	millis  = []string{far + "000", far + "000", far + "000", "0", "-1", "x", "9223372036854775807", "-9223372036854775808"}
	instant = []string{"1", "99999999999", "88888888888", "0", "-1", "x", "9223372036854775807"}
	instMs  = []string{"1", "99999999999999", "88888888888888", "0", "-1", "x", "9223372036854775807"}
	globs   = []string{"*", "?", "a*", "[a-c]", "[^a]", "\\a", "*tag*", "k*", "", "**", "[", "[a", "[a-", "[^", "\\", "*\\"}
	conds   = []string{"NX", "XX", "GT", "LT", "nx", "FOO"}
	types   = []string{"string", "STRING", "list", "hash", "nosuch"}
)

// far stands for a number of seconds that differs from all others: whether two commands with equal times compare as equal (GT, LT)
// would depend on the millisecond in which they run.
const far = "FAR"

// shapes are commands with placeholders: K key, V value, N number, F float, S seconds, P milliseconds, T unix seconds, M unix
// milliseconds, G glob, C condition of EXPIRE, Y type. A part in (...) is present half of the time, and one in (... )* up to three
// times. A leading number is a weight.
var shapes = strings.Split(`6 GET K
8 SET K V
4 SET K V (NX) (XX) (GET) (KEEPTTL) (EX S) (PX P) (EXAT T) (PXAT M) (PERSIST)
3 SET K V (EX S)
3 SET K V (PXAT M) (GET)
2 GETEX K (EX S) (PX P) (EXAT T) (PXAT M) (PERSIST) (KEEPTTL)
2 GETEX K (PERSIST)
2 GETDEL K
2 GETSET K V
2 SETNX K V
2 SETEX K S V
2 PSETEX K P V
3 MGET K (K)*
3 MSET K V (K V)*
1 MSET K V (V)
2 MSETNX K V (K V)*
3 APPEND K V
2 STRLEN K
3 GETRANGE K N N
1 SUBSTR K N N
3 SETRANGE K N V
3 INCR K
3 DECR K
3 INCRBY K N
3 DECRBY K N
3 INCRBYFLOAT K F
2 LCS K K (LEN) (IDX) (MINMATCHLEN N) (WITHMATCHLEN)
2 LCS K K (IDX (WITHMATCHLEN))
3 DEL K (K)*
2 UNLINK K (K)*
3 EXISTS K (K)*
2 TYPE K
2 TOUCH K (K)*
3 RENAME K K
2 RENAMENX K K
2 COPY K K (REPLACE) (DB N)
2 COPY K K (REPLACE)
2 KEYS G
2 SCAN N (MATCH G) (COUNT N) (TYPE Y)
1 RANDOMKEY
3 DBSIZE
1 FLUSHDB (ASYNC) (V)
1 FLUSHALL (SYNC)
2 OBJECT ENCODING K
1 OBJECT FREQ K
1 OBJECT REFCOUNT K
3 EXPIRE K S (C) (C)
2 PEXPIRE K P (C) (C)
2 EXPIREAT K T (C)
2 PEXPIREAT K M (C)
3 TTL K
2 PTTL K
2 EXPIRETIME K
2 PEXPIRETIME K
2 PERSIST K
1 MEMORY USAGE K (SAMPLES N)
1 PING (V) (V)
1 ECHO V
1 SELECT N
1 CLIENT SETNAME K
1 CLIENT GETNAME
1 CLIENT REPLY SKIP
1 WAIT 0 N
3 MULTI
4 EXEC
1 DISCARD
1 WATCH K (K)*
1 UNWATCH
1 RESET
1 HELLO 2
1 HELLO 3
1 COMMAND GETKEYS SET K V
1 COMMAND GETKEYSANDFLAGS MGET K (K)*
1 V V`, "\n")

// generator generates random commands.
type generator struct {
	*rand.Rand
	bag   []string // by weight
	multi bool     // a transaction is being queued
}

func newGenerator(seed uint64) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 7))}
	for _, s := range shapes {
		weight, shape, _ := strings.Cut(s, " ")
		n, err := strconv.Atoi(weight)
		if err != nil {
			panic(fmt.Sprintf("shape %q: %v", s, err))
		}
		for range n {
			g.bag = append(g.bag, shape)
		}
	}
	return g
}

func (g *generator) command() command {
	cmd, _ := g.words(strings.Fields(spaced(g.bag[g.IntN(len(g.bag))])), nil)
	switch g.IntN(40) {
	case 0: // one argument too many
		cmd = append(cmd, g.pick(values))
	case 1: // one argument too few
		if len(cmd) > 1 {
			cmd = cmd[:len(cmd)-1]
		}
	case 2:
		cmd[0] = strings.ToLower(cmd[0])
	}
	switch strings.ToUpper(cmd[0]) {
	case "MULTI", "EXEC", "DISCARD", "RESET":
		if len(cmd) == 1 {
			g.multi = strings.EqualFold(cmd[0], "MULTI")
		}
	case "KEYS", "SCAN", "DBSIZE", "RANDOMKEY", "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "OBJECT", "MEMORY", "HELLO":
		if g.multi { // not allowed in a transaction, or not comparable inside EXEC's reply
			return command{"GET", g.pick(someKeys)}
		}
	}
	if strings.EqualFold(cmd[0], "CLIENT") && len(cmd) == 3 && strings.EqualFold(cmd[1], "REPLY") && cmd[2] == "SKIP" {
		return command{"PING"} // commands without a reply have their own test
	}
	return cmd
}

// repeated is the token of ")*".
const repeated = "\x00"

// spaced puts blanks around parentheses.
func spaced(shape string) string {
	return strings.NewReplacer("(", " ( ", ")*", " "+repeated+" ", ")", " ) ").Replace(shape)
}

// words expands tokens up to the closing parenthesis and returns the remaining tokens.
func (g *generator) words(tokens []string, out command) (command, []string) {
	for len(tokens) > 0 {
		token := tokens[0]
		tokens = tokens[1:]
		switch token {
		case "(":
			depth, end := 1, 0
			for ; depth > 0; end++ {
				switch tokens[end] {
				case "(":
					depth++
				case ")", repeated:
					depth--
				}
			}
			times := g.IntN(2)
			if tokens[end-1] == repeated {
				times = g.IntN(4)
			}
			for range times {
				out, _ = g.words(tokens[:end-1], out)
			}
			tokens = tokens[end:]
		default:
			out = append(out, g.word(token))
		}
	}
	return out, nil
}

func (g *generator) word(token string) string {
	list, ok := map[string][]string{"K": someKeys, "V": values, "N": numbers, "F": floats, "S": seconds, "P": millis, "T": instant,
		"M": instMs, "G": globs, "C": conds, "Y": types}[token]
	if !ok {
		return token
	}
	word := g.pick(list)
	if rest, ok := strings.CutPrefix(word, far); ok {
		return strconv.Itoa(1000+g.IntN(1_000_000_000)) + rest
	}
	return word
}

func (g *generator) pick(list []string) string { return list[g.IntN(len(list))] }

func fromEnv(t *testing.T, name string, or uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return or
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestRandom compares the replies to lists of random commands, sent one by one and in pipelines.
func TestRandom(t *testing.T) {
	rounds, length := int(fromEnv(t, "CONFORMANCE_ROUNDS", 24)), 500
	if testing.Short() {
		rounds = 6
	}
	seed := fromEnv(t, "CONFORMANCE_SEED", 0)
	if seed == 0 {
		seed = rand.Uint64()
	} else {
		rounds = 1
	}
	two := newPair(t, "2")
	three := &pair{t: t, redis: two.redis, node: two.node, protocol: "3"}
	for i := range rounds {
		g := newGenerator(seed + uint64(i))
		cmds := make([]command, length)
		for j := range cmds {
			cmds[j] = g.command()
		}
		note := fmt.Sprintf("seed %d", seed+uint64(i))
		p := []*pair{two, three}[g.IntN(2)]
		p.check(cmds, 1, note)
		p.check(cmds, 1+g.IntN(200), note)
		if t.Failed() {
			return
		}
	}
}
