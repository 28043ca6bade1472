package node

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/redis/go-redis/v9"
)

func passwordFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadPasswords(t *testing.T) {
	for text, want := range map[string]string{
		"secret":                              "secret",
		"secret\n":                            "secret",
		"secret\r\n":                          "secret",
		"  two words \n\nthe second\n":        "  two words |the second",
		"":                                    "has 0 passwords",
		"\n\r\n":                              "has 0 passwords",
		strings.Repeat("password\n", 8):       strings.TrimSuffix(strings.Repeat("password|", 8), "|"),
		strings.Repeat("password\n", 9):       "has 9 passwords",
		"a long password, wrapp\ned==":        "shorter than 8 bytes",
		strings.Repeat("x", 4096):             strings.Repeat("x", 4096),
		strings.Repeat("x", 4097):             "a line of",
		"short\n" + strings.Repeat("x", 4097): "longer than 4096 bytes",
	} {
		words, err := readPasswords(passwordFile(t, text))
		if err == nil && strings.Join(words, "|") != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %.50q, %v", text, words, err)
		}
	}
	if _, err := readPasswords(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "spec.auth.passwordSecret") {
		t.Errorf("no file: %v", err)
	}
}

// A member that was given a password file does not serve without one.
func TestNoStartWithoutPasswords(t *testing.T) {
	n, err := Start(context.Background(), Options{Data: t.TempDir(), Listen: "127.0.0.1:0", PasswordFile: passwordFile(t, "\n"), Log: logr.Discard()})
	if err == nil {
		_ = n.Stop()
	}
	if err == nil || !strings.Contains(err.Error(), "--password-file") {
		t.Errorf("%v", err)
	}
}

// Every member accepts clients with a password, and requests that a follower forwards, while passwords are replaced: no
// two members read the new file at the same time.
func TestPasswordsOfAStore(t *testing.T) {
	files := map[string]string{"m-1": passwordFile(t, "old-password"), "m-2": passwordFile(t, "old-password")}
	c := newCluster(t, 2, 1, func(o *Options) { o.PasswordFile = files[o.Member] })
	c.promote("m-1", "m-2")
	try := func(member, password string) error {
		cl := redis.NewClient(&redis.Options{Addr: c.nodes[member].Addr().String(), MaxRetries: -1, ReadTimeout: time.Minute, Password: password})
		defer func() { _ = cl.Close() }()
		return cl.Set(t.Context(), "a", password, 0).Err()
	}
	follower := c.others()[0]
	is := func(member, text string) {
		t.Helper()
		if err := os.WriteFile(files[member], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.nodes[member].passwords.look(logr.Discard())
	}
	admits := func(when string, password string, members ...string) {
		t.Helper()
		for _, m := range members {
			if err := try(m, password); err != nil {
				t.Errorf("%s: %s refuses %q: %v", when, m, password, err)
			}
		}
	}
	refuses := func(when, password, code string, members ...string) {
		t.Helper()
		for _, m := range members {
			if err := try(m, password); err == nil || !strings.Contains(err.Error(), code) {
				t.Errorf("%s: %s answers %q with %v", when, m, password, err)
			}
		}
	}
	admits("at first", "old-password", "m-1", "m-2")
	refuses("at first", "", "NOAUTH", "m-1", "m-2")
	refuses("at first", "new-password", "WRONGPASS", "m-1", "m-2")
	is(follower, "new-password\nold-password\n")
	admits("one knows both, the other the old one", "old-password", "m-1", "m-2")
	admits("one knows both, the other the old one", "new-password", follower)
	is(c.lead, "new-password\nold-password\n")
	admits("both know both", "new-password", "m-1", "m-2")
	is(c.lead, "new-password\n")
	admits("one knows both, the other the new one", "new-password", "m-1", "m-2")
	refuses("one knows both, the other the new one", "old-password", "WRONGPASS", c.lead)
	is(follower, "new-password\n")
	refuses("at last", "old-password", "WRONGPASS", "m-1", "m-2")
	admits("at last", "new-password", "m-1", "m-2")
	// An unusable file changes nothing, and is reported.
	is(follower, "\n")
	admits("no password in the file", "new-password", "m-1", "m-2")
	if s := c.status(follower); !strings.Contains(s.Problem, "has 0 passwords") {
		t.Errorf("it says %q", s.Problem)
	}
	is(follower, "new-password\n")
	if s := c.status(follower); s.Problem != "" {
		t.Errorf("it says %q still", s.Problem)
	}
}

// While a store that had no passwords gets some, member by member, members that have them forward to one that does not.
func TestAMemberWithAPasswordForwardsToOneWithout(t *testing.T) {
	files := map[string]string{"m-2": passwordFile(t, "secret")}
	c := newCluster(t, 2, 1, func(o *Options) { o.PasswordFile = files[o.Member] })
	if c.promote("m-1", "m-2"); c.lead != "m-1" {
		t.Fatalf("%s leads", c.lead)
	}
	cl := redis.NewClient(&redis.Options{Addr: c.nodes["m-2"].Addr().String(), MaxRetries: -1, ReadTimeout: time.Minute, Password: "secret"})
	defer func() { _ = cl.Close() }()
	if err := cl.Set(t.Context(), "a", "1", 0).Err(); err != nil {
		t.Error(err)
	}
}

// Changes of the password file are picked up without a notification.
func TestPasswordsAreWatched(t *testing.T) {
	path := passwordFile(t, "old-password")
	n, err := Start(context.Background(), Options{Data: t.TempDir(), Listen: "127.0.0.1:0", Memory: 32 << 20, PasswordFile: path, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Stop() }()
	if err := os.WriteFile(path, []byte("new-password"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t}
	c.eventually("the new one is taken", func() bool {
		cl := redis.NewClient(&redis.Options{Addr: n.Addr().String(), MaxRetries: -1, ReadTimeout: time.Minute, Password: "new-password"})
		defer func() { _ = cl.Close() }()
		return cl.Set(t.Context(), "a", "1", 0).Err() == nil
	})
}
