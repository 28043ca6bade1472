package conformance

import (
	"slices"
	"strings"
	"testing"
)

const password = "correct horse"

// auths are pipelines for servers that require a password. The replies to DBSIZE, PING and the like show who was let in.
var auths = map[string][]command{
	"none":                   {{"PING"}, {"GET", "a"}, {"SET", "a", "1"}, {"nosuch"}, {"GET"}, {"INFO"}, {"COMMAND", "COUNT"}, {"CLIENT", "ID"}},
	"right":                  {{"AUTH", password}, {"SET", "a", "1"}, {"GET", "a"}, {"FLUSHALL"}},
	"right, named":           {{"AUTH", "default", password}, {"PING"}},
	"wrong":                  {{"AUTH", "horse"}, {"PING"}, {"AUTH", password}, {"PING"}},
	"wrong, once in":         {{"AUTH", password}, {"AUTH", "horse"}, {"PING"}},
	"empty":                  {{"AUTH", ""}, {"PING"}},
	"part":                   {{"AUTH", password[:5]}, {"AUTH", password + " "}, {"PING"}},
	"other user":             {{"AUTH", "admin", password}, {"PING"}},
	"user in capitals":       {{"AUTH", "DEFAULT", password}, {"PING"}},
	"arity":                  {{"AUTH"}, {"AUTH", "default", password, "x"}, {"PING"}},
	"by HELLO":               {{"HELLO", "2", "AUTH", "default", password}, {"PING"}},
	"by HELLO, wrong":        {{"HELLO", "3", "AUTH", "default", "horse"}, {"PING"}, {"AUTH", password}, {"GET", "missing"}},
	"by HELLO, other user":   {{"HELLO", "3", "AUTH", "admin", password}, {"PING"}},
	"HELLO before":           {{"HELLO"}, {"HELLO", "2"}, {"HELLO", "3"}, {"HELLO", "4"}, {"HELLO", "x"}, {"HELLO", "3", "SETNAME", "me"}, {"AUTH", password}, {"CLIENT", "GETNAME"}},
	"HELLO with a bad name":  {{"HELLO", "3", "SETNAME", "a b", "AUTH", "default", password}, {"PING"}},
	"HELLO, then bad option": {{"HELLO", "3", "AUTH", "default", password, "NONSENSE"}, {"PING"}},
	"RESET":                  {{"RESET"}, {"AUTH", password}, {"PING"}, {"RESET"}, {"PING"}, {"AUTH", password}, {"PING"}},
	"RESET in a transaction": {{"AUTH", password}, {"MULTI"}, {"SET", "a", "1"}, {"RESET"}, {"EXEC"}, {"AUTH", password}, {"EXEC"}, {"GET", "a"}},
	"transaction before":     {{"MULTI"}, {"SET", "a", "1"}, {"EXEC"}, {"DISCARD"}},
	"AUTH in a transaction":  {{"AUTH", password}, {"MULTI"}, {"AUTH", "horse"}, {"AUTH", password}, {"EXEC"}, {"PING"}},
	"QUIT":                   {{"QUIT"}, {"PING"}},
	"no replies":             {{"CLIENT", "REPLY", "OFF"}, {"PING"}},
	"many arguments":         {slices.Repeat(command{"MGET"}, 11), {"PING"}},
	"ten arguments":          {slices.Repeat(command{"MGET"}, 10), {"AUTH", password}, slices.Repeat(command{"MGET"}, 11)},
	"long argument":          {{"AUTH", strings.Repeat("x", 16385)}, {"PING"}},
	"argument not so long":   {{"AUTH", strings.Repeat("x", 16000)}, {"PING"}},
	"WAIT before":            {{"WAIT", "0", "0"}, {"EXEC"}, {"AUTH", password}, {"PING"}},
	"many behind RESET":      {{"AUTH", password}, {"RESET"}, slices.Repeat(command{"MGET"}, 12), {"PING"}},
	"long one behind RESET":  {{"AUTH", password}, {"RESET"}, {"AUTH", strings.Repeat("x", 20000)}, {"PING"}},
	"long one behind AUTH":   {{"AUTH", password}, {"SET", "a", strings.Repeat("x", 1<<20)}, slices.Repeat(command{"EXISTS", "a"}, 50), {"DEL", "a"}},
	"long one before AUTH":   {{"PING"}, {"SET", "a", strings.Repeat("x", 20000)}, {"AUTH", password}, {"PING"}},
}

// TestPassword compares with the replies of a Redis with a password, to whole pipelines.
func TestPassword(t *testing.T) {
	redis, node := startRedis(t, "--requirepass", password), startNode(t, password)
	for name, cmds := range auths {
		t.Run(name, func(t *testing.T) {
			want, got := dial(t, redis).do(cmds...), dial(t, node).do(cmds...)
			for i, cmd := range cmds {
				if !same(cmd, want[i], got[i], 0) {
					t.Errorf("%v\nredis: %.300q\nnode:  %.300q", cmd, want[i], got[i])
				}
			}
		})
	}
}
