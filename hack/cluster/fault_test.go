package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseSignal(t *testing.T) {
	for name, want := range map[string]unix.Signal{
		"KILL": unix.SIGKILL, "SIGTERM": unix.SIGTERM, "stop": unix.SIGSTOP, "9": unix.SIGKILL,
	} {
		if got, err := parseSignal(name); err != nil || got != want {
			t.Errorf("parseSignal(%q) = %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "NONSENSE", "0", "-9", "99"} {
		if got, err := parseSignal(name); err == nil {
			t.Errorf("parseSignal(%q) = %v, want an error", name, got)
		}
	}
}

// TestEveryVerbExplainsItself checks that every command has a line of help.
func TestEveryVerbExplainsItself(t *testing.T) {
	for _, c := range newRoot().Commands() {
		if c.Short == "" || !c.Hidden && c.GroupID == "" {
			t.Errorf("%s: short %q, group %q", c.Name(), c.Short, c.GroupID)
		}
	}
}
