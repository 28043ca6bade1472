package conformance

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestTable compares the descriptions of all commands that both servers know: arity, flags, categories, tips, key specs.
func TestTable(t *testing.T) {
	p := newPair(t, "3")
	db := redis.NewClient(&redis.Options{Addr: p.node})
	defer func() { _ = db.Close() }()
	names, err := db.CommandList(t.Context(), nil).Result()
	if err != nil {
		t.Fatal(err)
	}
	newer := []string{"waitaof", "client|setinfo", "client|no-touch"} // since 7.2; the Redis here is 7.0
	scans := []string{"dbsize", "keys", "randomkey", "scan"}          // not allowed in a transaction here; see known_test.go
	a, b := dial(t, p.redis), dial(t, p.node)
	a.do(command{"HELLO", "3"})
	b.do(command{"HELLO", "3"})
	compared := 0
	for _, name := range names {
		cmd := command{"COMMAND", "INFO", name}
		want, got := a.do(cmd)[0], b.do(cmd)[0]
		if slices.Contains(newer, name) {
			if want != "*1\r\n_\r\n" {
				t.Errorf("%s: Redis knows it by now: compare it", name)
			}
			continue
		}
		if slices.Contains(scans, name) {
			got = withoutFlag(got, "no_multi")
		}
		if strings.Contains(got, "|") && !strings.Contains(name, "|") { // a container command, which has fewer subcommands here
			end := len("*1\r\n*10\r\n") + len(name) + 30
			want, got = want[:min(end, len(want))], got[:min(end, len(got))]
		}
		if got != want {
			t.Errorf("%s:\n  redis: %q\n  node:  %q", name, want, got)
		}
		compared++
	}
	if compared < 90 {
		t.Errorf("compared only %d commands", compared)
	}
}

// withoutFlag returns a command's description without the given flag, which must be present.
func withoutFlag(reply, flag string) string {
	before, rest, _ := strings.Cut(reply, "\r\n~") // the flags are the first set
	count, rest, _ := strings.Cut(rest, "\r\n")
	n, _ := strconv.Atoi(count)
	at := strings.Index(rest, "+"+flag+"\r\n")
	if at < 0 {
		return "without " + flag + ": " + reply
	}
	return before + "\r\n~" + strconv.Itoa(n-1) + "\r\n" + rest[:at] + rest[at+len(flag)+3:]
}

// TestScan compares complete scans: cursors are specific to a server, but what they deliver in total is not.
func TestScan(t *testing.T) {
	p := newPair(t, "2")
	dbs := map[string]*redis.Client{}
	for _, addr := range []string{p.redis, p.node} {
		db := redis.NewClient(&redis.Options{Addr: addr})
		defer func() { _ = db.Close() }()
		dbs[addr] = db
		if err := db.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		pipe := db.Pipeline()
		for i := range 1000 {
			pipe.Set(t.Context(), fmt.Sprintf("key:%d", i), "v", 0)
			pipe.Set(t.Context(), fmt.Sprintf("{tag}%d", i), "v", time.Hour)
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, pattern := range []string{"*", "key:*", "{tag}*5", "none*", "key:[0-3]?"} {
		for _, count := range []int64{1, 7, 100, 5000} {
			want, got := scanAll(t, dbs[p.redis], pattern, count), scanAll(t, dbs[p.node], pattern, count)
			if !slices.Equal(want, got) {
				t.Errorf("SCAN MATCH %s COUNT %d: redis %d keys, node %d keys", pattern, count, len(want), len(got))
			}
		}
	}
}

func scanAll(t *testing.T, db *redis.Client, pattern string, count int64) []string {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var keys []string
	it := db.Scan(ctx, 0, pattern, count).Iterator()
	for it.Next(ctx) {
		keys = append(keys, it.Val())
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
